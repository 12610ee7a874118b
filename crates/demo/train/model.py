"""The llama architecture in PyTorch, as GGUF means it: interleaved ("norm") rotary pairs, grouped heads, tied embeddings."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Shape:
    """The sizes that the GGUF file names."""

    vocabulary: int = 2048
    hidden: int = 256
    layers: int = 6
    heads: int = 8
    kv_heads: int = 4
    ffn: int = 768
    context: int = 2048
    theta: float = 10000.0
    eps: float = 1e-5

    @property
    def head_dim(self):
        return self.hidden // self.heads


def rotations(shape, length, device):
    """cos and sin, [length, head_dim / 2] f32."""
    rates = shape.theta ** (-torch.arange(0, shape.head_dim, 2, device=device).float() / shape.head_dim)
    angles = torch.arange(length, device=device).float()[:, None] * rates
    return angles.cos(), angles.sin()


def rotate(x, cos, sin):
    """Turns the pairs (0, 1), (2, 3), ... of each head; x is [batch, heads, tokens, head_dim]."""
    even, odd = x[..., 0::2].float(), x[..., 1::2].float()
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2).to(x.dtype)


class Norm(nn.Module):
    """RMSNorm computed in f32."""

    def __init__(self, shape):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(shape.hidden)), shape.eps

    def forward(self, x):
        wide = x.float()
        return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight).to(x.dtype)


class Layer(nn.Module):
    """Attention and SwiGLU, each behind its norm and added to the stream. Weight names are the GGUF's."""

    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        kv = shape.kv_heads * shape.head_dim
        self.attn_norm, self.ffn_norm = Norm(shape), Norm(shape)
        self.attn_q, self.attn_output = nn.Linear(shape.hidden, shape.hidden, False), nn.Linear(shape.hidden, shape.hidden, False)
        self.attn_k, self.attn_v = nn.Linear(shape.hidden, kv, False), nn.Linear(shape.hidden, kv, False)
        self.ffn_gate, self.ffn_up = nn.Linear(shape.hidden, shape.ffn, False), nn.Linear(shape.hidden, shape.ffn, False)
        self.ffn_down = nn.Linear(shape.ffn, shape.hidden, False)

    def attention(self, x, turn, bias):
        batch, tokens, _ = x.shape
        q, k, v = (made.view(batch, tokens, -1, self.shape.head_dim).transpose(1, 2) for made in (self.attn_q(x), self.attn_k(x), self.attn_v(x)))
        q, k = rotate(q, *turn), rotate(k, *turn)
        group = self.shape.heads // self.shape.kv_heads
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        if bias is None:
            out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.expand(-1, self.shape.heads, -1, -1))
        return self.attn_output(out.transpose(1, 2).reshape(batch, tokens, -1))

    def forward(self, x, turn, bias):
        x = x + self.attention(self.attn_norm(x), turn, bias)
        y = self.ffn_norm(x)
        return x + self.ffn_down(F.silu(self.ffn_gate(y)) * self.ffn_up(y))


class Llama(nn.Module):
    """Token ids [batch, tokens] to logits [batch, tokens, vocabulary]. `bias` is [batch, 1, tokens, tokens], None means causal."""

    def __init__(self, shape=Shape()):
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.vocabulary, shape.hidden)
        self.blk = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.output_norm = Norm(shape)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                deep = name.endswith(("attn_output.weight", "ffn_down.weight"))
                nn.init.normal_(weight, std=0.02 if "embd" in name else (1 / weight.shape[1]) ** 0.5 / ((2 * shape.layers) ** 0.5 if deep else 1))

    def forward(self, ids, bias=None):
        turn = rotations(self.shape, ids.shape[1], ids.device)
        x = self.token_embd(ids)
        for layer in self.blk:
            x = layer(x, turn, bias)
        return F.linear(self.output_norm(x), self.token_embd.weight.to(x.dtype))
