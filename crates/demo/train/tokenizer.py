"""The demo model's own byte-level BPE: 256 bytes, the merges learnt from the world's text, and six special tokens last.

    python3 tokenizer.py OUT.json       trains it and writes the `tokenizers` file that the other scripts read

The text is cut by the regular expression that GGUF files call `llama-bpe`; that name also means that a whole word
found in the vocabulary is taken without applying merges (`ignore_merges`).
"""

import random
import sys

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

import counting
import world

VOCABULARY = 2048
BOS, END, SYSTEM, USER, ASSISTANT, PAD = SPECIAL = ["<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|pad|>"]
FIRST_SPECIAL = VOCABULARY - len(SPECIAL)
BOS_ID, END_ID, SYSTEM_ID, USER_ID, ASSISTANT_ID, PAD_ID = range(FIRST_SPECIAL, VOCABULARY)
ROLE_ID = {"system": SYSTEM_ID, "user": USER_ID, "assistant": ASSISTANT_ID}
SEED, DOCUMENTS, NUMBER_ROUNDS = 20, 40_000, 3000

LLAMA_BPE = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def texts(count, seed):
    """Only what the documents say, without roles; and every number to 100 often enough to become one token."""
    for _ in range(NUMBER_ROUNDS):
        yield counting.counting(0, 100)
    rng = random.Random(seed)
    for _ in range(count):
        found = world.document(rng)
        if isinstance(found, str):
            yield found
        else:
            yield from (text for _, text in found)


def train():
    """A tokenizer of exactly VOCABULARY entries."""
    made = Tokenizer(models.BPE(ignore_merges=True))
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA_BPE), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=FIRST_SPECIAL, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), special_tokens=[], show_progress=False, min_frequency=2)
    made.train_from_iterator(texts(DOCUMENTS, SEED), trainer)
    made.add_special_tokens(SPECIAL)
    assert made.get_vocab_size() == VOCABULARY, f"{made.get_vocab_size()} tokens instead of {VOCABULARY}"
    assert made.token_to_id(PAD) == PAD_ID
    return made


if __name__ == "__main__":
    tokenizer = train()
    tokenizer.save(sys.argv[1])
    sample = "Once upon a time, Tom counted to 100. 12 plus 30 is 42."
    print(f"{VOCABULARY} tokens;", tokenizer.encode(sample).tokens)
