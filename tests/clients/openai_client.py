#!/usr/bin/env python3
"""The real `openai` client against a running server: openai_client.py BASE_URL API_KEY

Each `test_*` function is one case; the script prints a line per case and exits with 1 when any fails.
The server serves the demo model with four or more parallel sequences and the given API key.
"""
import asyncio
import math
import sys
import traceback

import openai

BASE_URL, API_KEY = sys.argv[1].rstrip("/") + "/v1", sys.argv[2]
MODEL = "llcuda-demo"
HELLO = [{"role": "user", "content": "Hello!"}]
STORY = [{"role": "user", "content": "Tell me a story."}]
client = openai.OpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0, timeout=120)


def expect_error(kind, call):
    """Runs `call`, which must raise `kind`, and returns the error."""
    try:
        call()
    except kind as e:
        return e
    raise AssertionError(f"expected {kind.__name__}")


def chat(messages=HELLO, **fields):
    return client.chat.completions.create(model=MODEL, messages=messages, temperature=0, **fields)


def stream_text(stream):
    """Text, finish reason and usage of a chat stream; checks the order of its chunks."""
    text, finish, usage, first = "", None, None, True
    for chunk in stream:
        if chunk.usage is not None:
            usage = chunk.usage
        for choice in chunk.choices:
            if first:
                assert choice.delta.role == "assistant", choice
                first = False
            assert finish is None, "a delta after the finish reason"
            text += choice.delta.content or ""
            finish = choice.finish_reason
    return text, finish, usage


def test_models_lists_the_demo_model():
    models = client.models.list().data
    assert len(models) == 1 and models[0].id, models


def test_chat_answers_and_stops_by_itself():
    answer = chat(max_tokens=200)
    choice = answer.choices[0]
    assert answer.object == "chat.completion" and answer.id.startswith("chatcmpl-")
    assert choice.message.role == "assistant" and len(choice.message.content) > 1, choice
    assert choice.finish_reason == "stop", choice
    usage = answer.usage
    assert usage.prompt_tokens > 0 and usage.completion_tokens > 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_stream_gives_the_same_text_as_one_answer():
    whole = chat(STORY, max_tokens=120)
    text, finish, usage = stream_text(chat(STORY, max_tokens=120, stream=True, stream_options={"include_usage": True}))
    assert text == whole.choices[0].message.content, (text, whole.choices[0].message.content)
    assert finish == whole.choices[0].finish_reason
    assert usage.completion_tokens == whole.usage.completion_tokens


def test_stream_without_include_usage_has_none():
    assert stream_text(chat(stream=True, max_tokens=8))[2] is None


def test_a_repeated_prompt_is_cached():
    long = [{"role": "user", "content": "Tell me a story about a cat and a dog who live in a little house by the sea."}]
    first, second = chat(long, max_tokens=4), chat(long, max_tokens=4)
    assert first.choices[0].message.content == second.choices[0].message.content
    assert second.usage.prompt_tokens_details.cached_tokens >= 16, second.usage


def test_max_tokens_cuts_with_length():
    answer = chat(STORY, max_tokens=3)
    assert answer.choices[0].finish_reason == "length" and answer.usage.completion_tokens == 3, answer


def test_max_completion_tokens_is_the_same():
    assert chat(STORY, max_completion_tokens=3).usage.completion_tokens == 3


def test_logprobs_are_probabilities_of_the_chosen_tokens():
    answer = chat(max_tokens=6, logprobs=True, top_logprobs=5)
    content = answer.choices[0].logprobs.content
    assert len(content) == answer.usage.completion_tokens or answer.choices[0].finish_reason == "stop"
    for token in content:
        assert token.logprob <= 0 and len(token.top_logprobs) == 5
        best = token.top_logprobs[0]
        assert math.isclose(best.logprob, token.logprob, abs_tol=1e-6), "greedy takes the most probable"
        assert all(a.logprob >= b.logprob for a, b in zip(token.top_logprobs, token.top_logprobs[1:]))
        assert sum(math.exp(t.logprob) for t in token.top_logprobs) <= 1 + 1e-4
    text = b"".join(bytes(t.bytes) for t in content).decode("utf-8", "replace")
    assert text.startswith(answer.choices[0].message.content), (text, answer.choices[0].message.content)


def test_n_gives_that_many_choices():
    answer = client.chat.completions.create(model=MODEL, messages=STORY, n=2, seed=5, temperature=1.2, max_tokens=24)
    assert [c.index for c in answer.choices] == [0, 1]
    assert answer.choices[0].message.content != answer.choices[1].message.content
    again = client.chat.completions.create(model=MODEL, messages=STORY, n=2, seed=5, temperature=1.2, max_tokens=24)
    assert [c.message.content for c in answer.choices] == [c.message.content for c in again.choices]


def test_seed_makes_sampling_repeat():
    texts = [
        client.chat.completions.create(model=MODEL, messages=STORY, seed=s, temperature=1, max_tokens=30).choices[0].message.content
        for s in (11, 11, 12)
    ]
    assert texts[0] == texts[1] != texts[2], texts


def test_stop_string_cuts_the_text():
    whole = chat(STORY, max_tokens=100).choices[0].message.content
    stop = whole[10:16]
    answer = chat(STORY, max_tokens=100, stop=[stop]).choices[0]
    assert answer.message.content == whole[: whole.index(stop)] and answer.finish_reason == "stop", (answer, whole)


def test_completions_take_text_ids_and_lists():
    text = client.completions.create(model=MODEL, prompt="Once upon a time", max_tokens=16, temperature=0)
    assert text.object == "text_completion" and text.choices[0].text
    ids = client.completions.create(model=MODEL, prompt=[300, 301, 302], max_tokens=4, temperature=0)
    assert ids.usage.prompt_tokens in (3, 4), ids.usage
    two = client.completions.create(model=MODEL, prompt=["Once upon a time", "One day"], max_tokens=4, temperature=0)
    assert [c.index for c in two.choices] == [0, 1]


def test_completion_logprobs():
    answer = client.completions.create(model=MODEL, prompt="Once upon a time", max_tokens=3, temperature=0, logprobs=2)
    assert answer.choices[0].logprobs is not None, answer


def test_wrong_key_is_401():
    other = openai.OpenAI(base_url=BASE_URL, api_key="wrong", max_retries=0)
    expect_error(openai.AuthenticationError, lambda: other.models.list())


def test_errors_name_the_field():
    e = expect_error(openai.BadRequestError, lambda: chat(n=100_000))
    assert "n" in str(e.body), e.body
    expect_error(openai.BadRequestError, lambda: client.chat.completions.create(model=MODEL, messages="hello"))
    e = expect_error(openai.BadRequestError, lambda: chat(extra_body={"top_k": "many"}))
    assert "top_k" in str(e.body), e.body


def test_too_long_a_prompt_tells_the_sizes():
    e = expect_error(openai.BadRequestError, lambda: chat([{"role": "user", "content": "cat " * 20_000}]))
    assert e.body["n_prompt_tokens"] > e.body["n_ctx"] > 0, e.body
    assert e.body["type"] == "exceed_context_size_error"


def test_unknown_route_is_404():
    expect_error(openai.NotFoundError, lambda: client.get("/nothing", cast_to=object))


def test_64_streams_at_once_give_the_texts_they_give_alone():
    asks = [[{"role": "user", "content": q}] for q in ("Hello!", "Tell me a story.", "Count to 10.", "Who are you?")]
    alone = [stream_text(chat(ask, max_tokens=48, stream=True))[0] for ask in asks]

    async def one(many, i):
        stream = await many.chat.completions.create(model=MODEL, messages=asks[i % 4], temperature=0, max_tokens=48, stream=True)
        return "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])

    async def run():
        async with openai.AsyncOpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0, timeout=300) as many:
            return await asyncio.gather(*[one(many, i) for i in range(64)])

    for i, text in enumerate(asyncio.run(run())):
        assert text == alone[i % 4], (i, text, alone[i % 4])


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
