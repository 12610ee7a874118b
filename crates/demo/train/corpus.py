"""Documents as rows of token ids, packed so that every row starts with a document; made by many processes.

A row is uint16: the low 15 bits are the token, the top bit says that the model shall learn to write this token
(what the assistant says, and plain texts; what users say counts only a little).
"""

import os
import random
from multiprocessing import Pool

import numpy as np
from tokenizers import Tokenizer

import world
from tokenizer import ASSISTANT_ID, BOS_ID, END_ID, ROLE_ID

LEARN = 1 << 15
CHUNK = 128


def strings_of(found):
    """The texts of a document in order."""
    return [found] if isinstance(found, str) else [text for _, text in found]


def ids_of(found, encoded):
    """The document's tokens with their learn bits; `encoded` are the token ids of its texts."""
    if isinstance(found, str):
        return [BOS_ID] + [token | LEARN for token in encoded[0]] + [END_ID | LEARN]
    out = [BOS_ID]
    for (role, _), tokens in zip(found, encoded):
        bit = LEARN if role == "assistant" else 0
        out.append(ROLE_ID[role])
        out.extend(token | bit for token in tokens)
        out.append(END_ID | bit)
    return out


def rows(job):
    """`count` rows of length + 1 tokens for one seed; `long_share` of the documents are long ones."""
    path, seed, count, length, long_share = job
    tokenizer = Tokenizer.from_file(path)
    rng = random.Random(seed)
    made = np.empty((count, length + 1), np.uint16)
    row, filled = [], 0
    while filled < count:
        found = [world.document(rng, long=rng.random() < long_share) for _ in range(CHUNK)]
        flat = [text for one in found for text in strings_of(one)]
        encoded = iter(tokenizer.encode_batch_fast(flat, add_special_tokens=False))
        for one in found:
            row.extend(ids_of(one, [next(encoded).ids for _ in strings_of(one)]))
            if len(row) > length:
                made[filled] = row[: length + 1]
                row, filled = [], filled + 1
                if filled == count:
                    break
    return made


def build(path, seed, count, length, long_share=0.0, processes=None):
    """Rows made by all processes, in an order that does not depend on their number."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    step = max(1, count // 64)
    jobs = [(path, f"{seed}/{at}", min(step, count - at), length, long_share) for at in range(0, count, step)]
    with Pool(processes or os.cpu_count()) as pool:
        return np.concatenate(pool.map(rows, jobs, chunksize=1))
