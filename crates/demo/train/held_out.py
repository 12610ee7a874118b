"""The loss of the finished GGUF file, weights as quantized, on text of the small world that no training seed drew.

    python3 held_out.py GGUF [rows]     mean loss per token that the model shall write, and over all other text
"""

import math
import os
import sys
import tempfile

import numpy as np
import torch

import corpus
from model import Llama
from reference import Reference
from train import SEED, losses, to_device

BATCH = 8


def model_of(reference):
    """The PyTorch model with the file's dequantized weights."""
    llama = Llama()
    llama.load_state_dict({name: torch.from_numpy(np.array(weight)) for name, weight in reference.weights.items()})
    return llama.eval()


@torch.no_grad()
def mean_loss(model, rows):
    """The mean over batches of the plain loss on what the model shall write, in nats per token."""
    found = [losses(model, rows[at : at + BATCH], "cpu")[1].item() for at in range(0, len(rows) - BATCH + 1, BATCH)]
    return sum(found) / len(found)


def main():
    """Prints one line for short rows and one for rows as long as the context."""
    path, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 512
    reference = Reference(path)
    model = model_of(reference)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = os.path.join(folder, "tokenizer.json")
        reference.tokenizer.save(tokenizer)
        for name, seed, rows, length, share in (("rows of 512", "held out", count, 512, 0.0), ("rows of 2048", "held out long", max(BATCH, count // 8), 2048, 0.1)):
            loss = mean_loss(model, to_device(corpus.build(tokenizer, f"{SEED} {seed}", rows, length, long_share=share), "cpu"))
            print(f"{name}: {rows} rows, loss {loss:.4f} nats per token, perplexity {math.exp(loss):.3f}", flush=True)


if __name__ == "__main__":
    main()
