"""The GGUF file run in plain numpy f32, as a check of the export and the source of golden.json.

    python3 reference.py compare GGUF WEIGHTS.npz       logits against PyTorch's for the weights before quantization
    python3 reference.py golden GGUF OUT.json           what the Rust tests compare with
    python3 reference.py chat GGUF "question" ...       a greedy conversation
"""

import json
import sys

import gguf
import numpy as np
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from tokenizer import LLAMA_BPE

# (is a chat, text): the prompts of golden.json.
PROMPTS = [(False, "Once upon a time"), (True, "What is the capital of France?"), (True, "Count to ten.")]
CONVERSATION = [
    {"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": "My name is Peter."},
    {"role": "assistant", "content": "Hello, Peter! How can I help you?"}, {"role": "user", "content": " What is my name?\n"},
]


class Reference:
    """One sequence with its keys and values; weights are dequantized once."""

    def __init__(self, path):
        reader = gguf.GGUFReader(path)
        self.meta = {name: field.contents() for name, field in reader.fields.items()}
        self.weights = {t.name: gguf.quants.dequantize(t.data, t.tensor_type).reshape(t.shape[::-1].tolist()).astype(np.float32) for t in reader.tensors}
        key = lambda name: self.meta[f"llama.{name}"]
        self.heads, self.kv_heads, self.layers = key("attention.head_count"), key("attention.head_count_kv"), key("block_count")
        self.dim, self.eps = key("rope.dimension_count"), key("attention.layer_norm_rms_epsilon")
        self.rates = key("rope.freq_base") ** (-np.arange(0, self.dim, 2, dtype=np.float64) / self.dim)
        self.tokenizer = self.vocabulary()
        self.reset()

    def reset(self):
        """Forgets the sequence."""
        self.cache = [([], []) for _ in range(self.layers)]

    def vocabulary(self):
        """The tokenizer, from nothing but the file's metadata."""
        tokens, kinds = self.meta["tokenizer.ggml.tokens"], self.meta["tokenizer.ggml.token_type"]
        merges = [tuple(pair.split(" ")) for pair in self.meta["tokenizer.ggml.merges"]]
        special = [t for t, kind in zip(tokens, kinds) if kind == 3]
        made = Tokenizer(models.BPE({t: at for at, t in enumerate(tokens)}, merges, ignore_merges=True))
        made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA_BPE), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        made.decoder = decoders.ByteLevel()
        made.add_special_tokens(special)
        return made

    def encode(self, text):
        """Token ids with the BOS in front."""
        return [self.meta["tokenizer.ggml.bos_token_id"], *self.tokenizer.encode(text, add_special_tokens=False).ids]

    def render(self, messages):
        """The chat as text, by the file's own template."""
        template = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(self.meta["tokenizer.chat_template"])
        return template.render(messages=messages, add_generation_prompt=True)

    def norm(self, x, name):
        return x / np.sqrt((x * x).mean() + self.eps) * self.weights[name + ".weight"]

    def rotate(self, x, position):
        angles = position * self.rates
        cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
        out = np.empty_like(x)
        out[:, 0::2], out[:, 1::2] = x[:, 0::2] * cos - x[:, 1::2] * sin, x[:, 0::2] * sin + x[:, 1::2] * cos
        return out

    def attention(self, x, layer, position):
        w = lambda name: self.weights[f"blk.{layer}.{name}.weight"]
        keys, values = self.cache[layer]
        keys.append(self.rotate((w("attn_k") @ x).reshape(-1, self.dim), position))
        values.append((w("attn_v") @ x).reshape(-1, self.dim))
        q = self.rotate((w("attn_q") @ x).reshape(-1, self.dim), position)
        k, v = (np.repeat(np.stack(made, 1), self.heads // self.kv_heads, 0) for made in (keys, values))
        scores = np.einsum("hd,htd->ht", q, k) / np.sqrt(np.float32(self.dim))
        chances = np.exp(scores - scores.max(1, keepdims=True))
        chances /= chances.sum(1, keepdims=True)
        return w("attn_output") @ np.einsum("ht,htd->hd", chances, v).reshape(-1)

    def step(self, token):
        """Logits after one more token."""
        position = len(self.cache[0][0])
        x = self.weights["token_embd.weight"][token]
        for layer in range(self.layers):
            w = lambda name: self.weights[f"blk.{layer}.{name}.weight"]
            x = x + self.attention(self.norm(x, f"blk.{layer}.attn_norm"), layer, position)
            y = self.norm(x, f"blk.{layer}.ffn_norm")
            gate = w("ffn_gate") @ y
            x = x + w("ffn_down") @ (gate / (1 + np.exp(-gate)) * (w("ffn_up") @ y))
        return self.weights["token_embd.weight"] @ self.norm(x, "output_norm")

    def greedy(self, prompt, count):
        """(continuation ids, logits of the first step, smallest lead of a chosen token)."""
        self.reset()
        for token in prompt:
            logits = self.step(token)
        first, made, lead = logits, [], np.inf
        while len(made) < count:
            best = np.sort(logits)[-2:]
            lead = min(lead, float(best[1] - best[0]))
            made.append(int(logits.argmax()))
            if made[-1] == self.meta["tokenizer.ggml.eos_token_id"]:
                break
            logits = self.step(made[-1])
        return made, first, lead


def golden(model, path):
    """Writes the golden answers: up to 32 greedy tokens, and the first logits, for each prompt."""
    cases = []
    for is_chat, text in PROMPTS:
        shown = model.render([{"role": "user", "content": text}]) if is_chat else text
        prompt = model.encode(shown)
        made, first, lead = model.greedy(prompt, 32)
        top = np.argsort(-first)[:5]
        cases.append(dict(prompt=shown, prompt_ids=prompt, greedy_ids=made, greedy_text=model.tokenizer.decode(made), smallest_lead=round(lead, 4), first_top_ids=top.tolist(), first_top_logits=[round(float(first[at]), 4) for at in top]))
    rendered = model.render(CONVERSATION)
    with open(path, "w") as file:
        json.dump(dict(source="train/reference.py golden: numpy f32 over the dequantized Q8_0 weights", cases=cases, conversation=dict(messages=CONVERSATION, rendered=rendered, ids=model.encode(rendered))), file, indent=1)
        file.write("\n")


def compare(model, weights):
    """Largest difference of logits to PyTorch, once for the same weights and once for those before quantization."""
    import torch
    from model import Llama

    prompt = model.encode("<|user|>Tell me a story about a fox.<|end|><|assistant|>Once upon a time, there was a fox called Anna.")
    model.reset()
    ours = np.stack([model.step(token) for token in prompt])
    for name, source in (("same weights", model.weights), ("before Q8_0", np.load(weights))):
        llama = Llama()
        llama.load_state_dict({key: torch.from_numpy(np.array(source[key], np.float32)) for key in llama.state_dict()})
        with torch.no_grad():
            theirs = llama(torch.tensor([prompt]))[0].numpy()
        print(f"{name}: {len(prompt)} positions, largest difference {np.abs(ours - theirs).max():.5f} of logits up to {np.abs(theirs).max():.2f}, same best token at {(ours.argmax(1) == theirs.argmax(1)).sum()}")


def chat(model, questions):
    """Prints a greedy conversation."""
    messages = []
    for question in questions:
        messages.append({"role": "user", "content": question})
        made, _, _ = model.greedy(model.encode(model.render(messages)), 400)
        messages.append({"role": "assistant", "content": model.tokenizer.decode(made)})
        print(f"> {question}\n{messages[-1]['content']}")


if __name__ == "__main__":
    command, model = sys.argv[1], Reference(sys.argv[2])
    if command == "chat":
        chat(model, sys.argv[3:])
    else:
        {"compare": compare, "golden": golden}[command](model, sys.argv[3])
