#!/usr/bin/env python3
"""Asks a server on the GPU the same questions alone and 64 at a time, and compares the texts.

usage: serve.py LLCUDA [FLAGS...]      FLAGS go to `serve`, e.g. --demo or -m FILE

Three servers: with everything on; with a prefix cache that is off; with so few KV blocks and such small steps that prompts are
cut into chunks and sequences are preempted. Greedy and seeded answers must be the same text each time. Needs nothing but Python.
"""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request

NUM_CLIENTS = 64
NUM_TOKENS = 48
STORY = "Once upon a time there was a fox who lived near a river and liked to count the boats. "


def prompts():
    """Prompts of mixed lengths; every fourth shares a long prefix."""
    for i in range(NUM_CLIENTS):
        if i % 4 == 0:
            yield STORY * 6 + f"Tell me story number {i}."
        else:
            yield STORY * (i % 3) + f"Hello! What is {i} plus {i % 7}? Tell me about it."


def request(port, index, prompt):
    """One streamed chat answer as text; odd clients draw with a seed."""
    body = {
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": NUM_TOKENS,
        "temperature": 0.8 if index % 2 else 0,
        "seed": index,
        "stream": True,
    }
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    call = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    text = ""
    with urllib.request.urlopen(call, timeout=300) as answer:
        for line in answer:
            if line.startswith(b"data: {"):
                choices = json.loads(line[6:])["choices"]
                text += (choices[0]["delta"].get("content") or "") if choices else ""
    return text


class Server:
    """`llcuda serve` on a free port, for a `with` block."""

    def __init__(self, command, flags):
        self.command = [*command, "--host", "127.0.0.1", "--port", "0", "--log-format", "json", *flags]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stderr=subprocess.PIPE, text=True, env={**os.environ, "LLCUDA_LOG": "info"})
        for line in self.process.stderr:
            event = json.loads(line) if line.startswith("{") else {"message": line}
            if event.get("message") == "ready":
                print("  " + event.get("device", ""), flush=True)
                self.port = int(event["url"].rsplit(":", 1)[1])
                threading.Thread(target=self.process.stderr.read, daemon=True).start()
                return self
            if event.get("level") == "ERROR":
                print(line)
        sys.exit("the server ended before it was ready")

    def __exit__(self, *_):
        self.process.terminate()
        if self.process.wait(30) != 0:
            sys.exit("the server did not end by itself")


def metric(port, name):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
        lines = page.read().decode().splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(name)), None)


def together(port, texts):
    """All clients at once; returns how many answers differ from `texts`."""
    found = [None] * len(texts)

    def ask(index, prompt):
        found[index] = request(port, index, prompt)

    threads = [threading.Thread(target=ask, args=pair) for pair in enumerate(prompts())]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    different = [i for i, text in enumerate(texts) if found[i] != text]
    for i in different[:3]:
        print(f"  client {i}:\n    alone    {texts[i]!r}\n    together {found[i]!r}")
    return len(different)


def main():
    command = [sys.argv[1], "serve", *sys.argv[2:]]
    # Else one sequence alone is multiplied in int8, a batch in f16.
    many = ["--parallel", "64", "--kv-unified", "--batch-invariant"]
    setups = [
        ("64 at once", many),
        ("no prefix cache", [*many, "--no-cache-prompt"]),
        ("few blocks, small steps", [*many, "--ctx-size", "2048", "--batch-size", "96", "--ubatch-size", "96"]),
    ]
    texts, failures = None, 0
    for name, flags in setups:
        with Server(command, flags) as server:
            if texts is None:
                texts = [request(server.port, i, prompt) for i, prompt in enumerate(prompts())]
            start = time.monotonic()
            different = together(server.port, texts)
            seconds = time.monotonic() - start
            preempted = metric(server.port, "vllm:num_preemptions")
            print(f"{name}: {different} of {NUM_CLIENTS} differ, {seconds:.2f} s, {preempted} preemptions", flush=True)
            failures += different
    sys.exit(failures > 0)


main()
