"""Trains the demo model on text drawn from the small world.

    python3 train.py OUT_DIR [--seconds 200] [--tokens 160e6]      # one GPU, 16 cores
    python3 train.py OUT_DIR --tiny                                 # a smoke test on a CPU
    python3 train.py OUT_DIR --refine --seconds 900 --tokens 2e6 --batch 4096
                                # goes on from OUT_DIR/demo.npz on a CPU, after a change of the world

Most of the time goes into rows of 512 tokens, the last part into rows of 2048, so that every position of the
context that the model file names was trained. Tokens never look into another document of their row.
"""

import argparse
import contextlib
import json
import math
import os
import time

import numpy as np
import torch
from torch.nn import functional as F

import corpus
from model import Llama, Shape
from tokenizer import BOS_ID, train as train_tokenizer

SEED = 2026
USER_WEIGHT = 0.1
LONG_PART = 0.2
QUICK = 64
WARMUP_STEPS = 200


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--seconds", type=float, default=200)
    parser.add_argument("--tokens", type=float, default=160e6)
    parser.add_argument("--batch", type=int, default=65536)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--refine", action="store_true")
    parser.add_argument("--tiny", action="store_true")
    return parser.parse_args()


def batch_of(rows, device):
    """Inputs, targets, loss weights and the attention bias that keeps documents apart, from uint16 rows on the device."""
    tokens = (rows & 0x7FFF).long()
    ids, targets = tokens[:, :-1], tokens[:, 1:]
    learn = (rows[:, 1:] < 0).float()
    weights = learn + (1 - learn) * USER_WEIGHT * (targets != BOS_ID)
    document = (ids == BOS_ID).cumsum(1)
    length = ids.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    seen = (document[:, :, None] == document[:, None, :]) & causal
    bias = torch.zeros(seen.shape, dtype=torch.bfloat16 if device == "cuda" else torch.float32, device=device).masked_fill_(~seen, -math.inf)
    return ids, targets, weights, bias[:, None], learn


def losses(model, rows, device):
    """The training loss, and the plain loss on what the model shall write."""
    ids, targets, weights, bias, learn = batch_of(rows, device)
    mixed = torch.autocast("cuda", torch.bfloat16) if device == "cuda" else contextlib.nullcontext()
    with mixed:
        logits = model(ids, bias)
    each = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)
    return (each * weights).sum() / weights.sum(), (each * learn).sum() / learn.sum()


@torch.no_grad()
def validate(model, rows, batch, device):
    """The mean loss on rows that were never trained on."""
    found = [losses(model, rows[at : at + batch], device)[1].item() for at in range(0, len(rows) - batch + 1, batch)]
    return sum(found) / len(found)


def to_device(rows, device):
    """Rows as int16 on the device: the top bit becomes the sign."""
    return torch.from_numpy(rows.view(np.int16)).to(device)


def save(model, path, note):
    """Weights as f16 under their GGUF names, and the numbers of the run."""
    np.savez(path, **{name: weight.detach().half().cpu().numpy() for name, weight in model.state_dict().items()})
    with open(os.path.splitext(path)[0] + ".json", "w") as file:
        json.dump(note, file, indent=1)


class Run:
    """Model, optimizer and the clock that the learning rate follows."""

    def __init__(self, options, device):
        torch.manual_seed(SEED)
        self.device, self.options = device, options
        self.plain = Llama(Shape() if not options.tiny else Shape(hidden=64, layers=2, heads=4, kv_heads=2, ffn=128)).to(device)
        self.model = torch.compile(self.plain, dynamic=False) if device == "cuda" else self.plain
        matrices = [w for w in self.plain.parameters() if w.dim() == 2]
        vectors = [w for w in self.plain.parameters() if w.dim() == 1]
        groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=options.rate, betas=(0.9, 0.95), fused=device == "cuda")
        self.step, self.tokens, self.started, self.log = 0, 0, None, []
        self.warmup = WARMUP_STEPS if not options.refine else 20
        self.order = torch.Generator().manual_seed(SEED)

    def progress(self):
        """How much of the time is gone, 0 to 1."""
        return min(1.0, (time.time() - self.started) / self.options.seconds)

    def train(self, data, until, held):
        """Steps over shuffled rows until the given share of the time is gone."""
        batch = max(1, self.options.batch // (data.shape[1] - 1))
        while True:
            for part in torch.randperm(len(data), generator=self.order).split(batch):
                gone = self.progress()
                if gone >= until:
                    return
                rate = self.options.rate * min(1.0, (self.step + 1) / self.warmup) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * gone)))
                for group in self.optimizer.param_groups:
                    group["lr"] = rate
                if len(part) < batch:
                    continue
                loss, plain = losses(self.model, data[part.to(self.device)], self.device)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.plain.parameters(), 1.0)
                self.optimizer.step()
                self.optimizer.zero_grad(set_to_none=True)
                self.step, self.tokens = self.step + 1, self.tokens + batch * (data.shape[1] - 1)
                if self.step % (400 if self.device == "cuda" else 50) == 0:
                    self.report(plain.item(), held, batch)

    def report(self, train_loss, held, batch):
        """Prints and remembers where the run stands."""
        line = dict(step=self.step, tokens=self.tokens, seconds=round(time.time() - self.started, 1), train=round(train_loss, 4), validation=round(validate(self.plain, held[:QUICK], min(batch, QUICK), self.device), 4))
        self.log.append(line)
        print(line, flush=True)


def refine(options, path):
    """Goes on from the saved weights with short rows of the present world."""
    weights = np.load(os.path.join(options.out, "demo.npz"))
    run = Run(options, "cpu")
    run.plain.load_state_dict({name: torch.from_numpy(weights[name]).float() for name in weights.files})
    data = to_device(corpus.build(path, f"{SEED} refine", int(options.tokens) // 512, 512), "cpu")
    held = to_device(corpus.build(path, f"{SEED} refine held out", 128, 512), "cpu")
    before = validate(run.plain, held, 8, "cpu")
    run.started = time.time()
    run.train(data, 1.0, held)
    note = dict(steps=run.step, tokens=run.tokens, seconds=options.seconds, rate=options.rate, batch=options.batch, validation_before=before, validation=validate(run.plain, held, 8, "cpu"), log=run.log)
    print(note, flush=True)
    save(run.plain, os.path.join(options.out, "refined.npz"), note)


def main():
    """Tokenizer, data, two phases, weights."""
    options = arguments()
    os.makedirs(options.out, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_float32_matmul_precision("high")
    torch._dynamo.config.suppress_errors = True  # slower is better than not at all
    path = os.path.join(options.out, "tokenizer.json")
    began = time.time()
    if not os.path.exists(path):
        train_tokenizer().save(path)
    if options.refine:
        refine(options, path)
        return
    print(f"tokenizer {time.time() - began:.0f} s", flush=True)
    total = int(options.tokens) if not options.tiny else 300_000
    short = corpus.build(path, f"{SEED}", total // 512, 512)
    long = corpus.build(path, f"{SEED} long", max(8, total // 5 // 2048), 2048, long_share=0.1)
    held = corpus.build(path, f"{SEED} held out", 2048 if not options.tiny else 32, 512), corpus.build(path, f"{SEED} held out long", 256 if not options.tiny else 8, 2048, long_share=0.1)
    print(f"data {short.size + long.size} tokens, {time.time() - began:.0f} s", flush=True)
    short, long, held_short, held_long = (to_device(rows, device) for rows in (short, long, *held))
    if options.tiny:
        options.batch = 4096
    run = Run(options, device)
    for rows in (short, long):  # compile both shapes before the clock starts
        losses(run.model, rows[: max(1, options.batch // (rows.shape[1] - 1))], device)[0].backward()
        run.optimizer.zero_grad(set_to_none=True)
    print(f"compiled {time.time() - began:.0f} s", flush=True)
    run.started = time.time()
    run.train(short, 1 - LONG_PART, held_short)
    run.report(float("nan"), held_short, max(1, options.batch // 512))
    save(run.plain, os.path.join(options.out, "short.npz"), dict(log=run.log))
    run.train(long, 1.0, held_long)
    final = {"short": validate(run.plain, held_short, max(1, options.batch // 512), device), "long": validate(run.plain, held_long, max(1, options.batch // 2048), device)}
    note = dict(seed=SEED, parameters=sum(w.numel() for w in run.plain.parameters()), data_tokens=int(short.numel() + long.numel()), steps=run.step, tokens=run.tokens, seconds=options.seconds, validation=final, log=run.log)
    print({key: value for key, value in note.items() if key != "log"}, flush=True)
    save(run.plain, os.path.join(options.out, "demo.npz"), note)


if __name__ == "__main__":
    main()
