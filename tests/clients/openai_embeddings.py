#!/usr/bin/env python3
"""Embeddings with the real `openai` client against a running server: openai_embeddings.py BASE_URL API_KEY

Each `test_*` function is one case; the script prints a line per case and exits with 1 when any fails.
The server serves any model that embeds, with a pooling, and the given API key.
"""
import asyncio
import base64
import math
import struct
import sys
import traceback

import openai

BASE_URL, API_KEY = sys.argv[1].rstrip("/") + "/v1", sys.argv[2]
MODEL = "any"
TEXTS = ["a quick fox", "a quick fox", "some other words", "z"]
client = openai.OpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0, timeout=120)


def embed(texts, **fields):
    return client.embeddings.create(model=MODEL, input=texts, **fields)


def near(a, b, bound=1e-6):
    return len(a) == len(b) and all(abs(x - y) <= bound for x, y in zip(a, b))


def expect_error(kind, call):
    """Runs `call`, which must raise `kind`, and returns the error."""
    try:
        call()
    except kind as e:
        return e
    raise AssertionError(f"expected {kind.__name__}")


def test_a_list_of_texts_has_a_vector_each():
    # The client asks for base64 by itself and decodes it.
    answer = embed(TEXTS)
    assert answer.object == "list" and answer.model == MODEL, answer
    assert [entry.index for entry in answer.data] == [0, 1, 2, 3]
    vectors = [entry.embedding for entry in answer.data]
    assert all(isinstance(x, float) for x in vectors[0]), vectors[0][:3]
    assert all(math.isclose(sum(x * x for x in vector), 1, abs_tol=1e-5) for vector in vectors)
    assert vectors[0] == vectors[1] and not near(vectors[0], vectors[2], 1e-3)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > len(TEXTS)


def test_floats_are_the_same_numbers():
    by_default = embed(TEXTS).data
    for entry, other in zip(by_default, embed(TEXTS, encoding_format="float").data):
        assert near(entry.embedding, other.embedding), (entry.embedding[:3], other.embedding[:3])
    raw = embed(TEXTS, encoding_format="base64").data[0].embedding
    data = base64.b64decode(raw)
    assert near(struct.unpack(f"<{len(data) // 4}f", data), by_default[0].embedding)


def test_tokens_are_taken_as_they_are():
    one, many = embed([10, 11, 12]), embed([[10, 11, 12], [13]])
    assert one.usage.prompt_tokens == 3 and many.usage.prompt_tokens == 4
    assert near(one.data[0].embedding, many.data[0].embedding)


def test_many_at_once_give_what_they_give_alone():
    texts = [("fox " * (1 + i % 7)).strip() for i in range(60)]
    alone = [embed(text).data[0].embedding for text in texts[:7]]

    async def run():
        async with openai.AsyncOpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0, timeout=120) as many:
            return await asyncio.gather(*[many.embeddings.create(model=MODEL, input=texts[i:] ) for i in range(0, 60, 6)])

    for number, answer in enumerate(asyncio.run(run())):
        assert len(answer.data) == 60 - 6 * number
        for entry in answer.data:
            assert near(entry.embedding, alone[(6 * number + entry.index) % 7], 1e-5), (number, entry.index)


def test_errors_say_what_is_wrong():
    expect_error(openai.BadRequestError, lambda: embed([]))
    e = expect_error(openai.BadRequestError, lambda: embed("a", extra_body={"embd_normalize": "x"}))
    assert "embd_normalize" in str(e.body), e.body
    e = expect_error(openai.APIStatusError, lambda: embed("a", dimensions=3))
    assert e.status_code == 501 and "dimensions" in str(e.body), e.body
    e = expect_error(openai.BadRequestError, lambda: embed("z " * 60_000))
    assert e.body["type"] == "exceed_context_size_error" and e.body["n_prompt_tokens"] > 1000, e.body


def test_wrong_key_is_401():
    other = openai.OpenAI(base_url=BASE_URL, api_key="wrong", max_retries=0)
    expect_error(openai.AuthenticationError, lambda: other.embeddings.create(model=MODEL, input="a"))


def main():
    failed = 0
    cases = [(name, f) for name, f in globals().items() if name.startswith("test_")]
    for name, case in cases:
        try:
            case()
            print(f"ok      {name}", flush=True)
        except Exception:
            failed += 1
            print(f"FAILED  {name}\n{traceback.format_exc()}", flush=True)
    print(f"{len(cases) - failed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
