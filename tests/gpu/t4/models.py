"""Models in figures: the matrices of a decode step by format, its other launches, and the time that bounds each.

Shapes and formats are those of llama.cpp's Q4_K_M and Q5_K_M files: of the value and down projections the first and last
eighths and a third of the others are Q6_K, and so is the output; rows that 256 does not divide are Q5_0 and Q8_0.
"""

import collections
import functools
import math
import re

from kernels import CHUNK_COLS, KV_BLOCK, TILE_HEADS, TILE_ROWS, occupancy, read

Model = collections.namedtuple("Model", "name quant layers hidden ffn heads kv_heads head_dim vocab window local")
# `local` of every 6 layers see only `window` tokens.
MODELS = [
    Model("Gemma-3-1B", "Q4_K_M", 26, 1152, 6912, 4, 1, 256, 262144, 512, 5),
    Model("Llama-3.2-1B", "Q4_K_M", 16, 2048, 8192, 32, 8, 64, 128256, 0, 0),
    Model("Llama-3.2-3B", "Q4_K_M", 28, 3072, 8192, 24, 8, 128, 128256, 0, 0),
    Model("Qwen2.5-7B", "Q4_K_M", 28, 3584, 18944, 28, 4, 128, 152064, 0, 0),
    Model("Llama-3.1-8B", "Q4_K_M", 32, 4096, 14336, 32, 8, 128, 128256, 0, 0),
    Model("Llama-3.1-8B", "Q5_K_M", 32, 4096, 14336, 32, 8, 128, 128256, 0, 0),
]

# `bandwidth` that streams reach, bytes/s; `launch`: seconds from one graph node to the next (assumed for the T4); `fill`:
# cycles until a kernel's first loads are there and its last sums are written (assumed).
Device = collections.namedtuple("Device", "name sms bandwidth launch fill")
T4 = Device("T4", 40, 265e9, 2.0e-6, 1500)
# What the choosing of a token takes one thread after the other: 10 us measured on an H100 at 1.98 GHz.
CHOOSE_CYCLES = 20000

# One launch: warp instructions and cycles of its busiest pipe are sums over the device.
Op = collections.namedtuple("Op", "stage kernel bytes instructions cycles fixed_cycles")


def formats(model, layer):
    """Format of each matrix of a layer."""
    small, big = ("q4_k" if model.quant == "Q4_K_M" else "q5_k"), "q6_k"
    eighth = model.layers // 8
    more = layer < eighth or layer >= 7 * model.layers // 8 or (layer - eighth) % 3 == 2
    return {
        name: big if more and name in ("v", "down") else small for name in ("q", "k", "v", "o", "gate", "up", "down")
    }


def stored(fmt, cols):
    return fmt if cols % 256 == 0 else "q8_0" if fmt == "q6_k" else "q5_0"


class Step:
    """A decode step of `batch` sequences with `context` tokens each."""

    def __init__(self, kernels, model, batch, context, device=T4):
        self.kernels, self.model, self.batch, self.context, self.device = kernels, model, batch, context, device

    def ops(self):
        """Every launch, as crates/cuda/src/forward.rs and the files beside it have them."""
        model, found = self.model, []
        found += self.stages("embed", 0) + self.stages("enter", 0)
        for layer in range(model.layers):
            for method in LAYER_METHODS:
                found += self.stages(method, layer)
        return found + self.stages("logits", 0) + self.stages("sampling", 0)

    def stages(self, function, layer):
        names = stages_of(function)
        return [op for name in names for op in getattr(self, name)(formats(self.model, layer), layer)]

    def small(self, stage, kernel, size, cycles=0):
        return [Op(stage, kernel, size, 0, 0, cycles)]

    def embed(self, *_):
        return self.small("embed", "dequant_rows", self.batch * self.model.hidden * 5)

    def norm(self, *_):
        return self.small("norm", "rms_norm", self.batch * self.model.hidden * 14)

    output_norm = norm

    def qkv(self, fmt, _):
        m = self.model
        q, kv = m.heads * m.head_dim, m.kv_heads * m.head_dim
        return self.product("qkv", [(q, fmt["q"]), (kv, fmt["k"]), (kv, fmt["v"])], m.hidden)

    def rope_kv(self, *_):
        m = self.model
        return self.small("rope_kv", "rope_kv", self.batch * (m.heads + 2 * m.kv_heads) * m.head_dim * 6)

    def attn_output(self, fmt, _):
        return self.product("attn_output", [(self.model.hidden, fmt["o"])], self.model.heads * self.model.head_dim)

    def gate_up(self, fmt, _):
        return self.product("gate_up", [(self.model.ffn, fmt["gate"]), (self.model.ffn, fmt["up"])], self.model.hidden)

    def gated_act(self, *_):
        return self.small("gated_act", "gated_act", self.batch * self.model.ffn * 10)

    def ffn_down(self, fmt, _):
        return self.product("ffn_down", [(self.model.hidden, fmt["down"])], self.model.ffn)

    def logits(self, *_):
        return self.product("logits", [(self.model.vocab, "q6_k")], self.model.hidden)

    def sampling(self, *_):
        scan = self.small("sampling", "sampling_scan", self.batch * self.model.vocab * 4)
        return scan + self.small("sampling", "sampling_choose", self.batch * self.model.vocab // 8, CHOOSE_CYCLES)

    def product(self, stage, segments, cols):
        """One launch over matrices of (rows, format)."""
        segments = [(rows, stored(fmt, cols)) for rows, fmt in segments]
        chunks, tokens = math.ceil(cols / CHUNK_COLS), self.batch
        row_tiles = sum(math.ceil(rows / TILE_ROWS) for rows, _ in segments)
        size = sum(math.ceil(rows / TILE_ROWS) * chunks * self.kernels.chunk[fmt] for rows, fmt in segments)
        size += tokens * (2 * cols + 4 * sum(rows for rows, _ in segments))
        if tokens == 1:
            costs, names = self.kernels.gemv, {fmt: fmt for _, fmt in segments}
            blocks, warps = row_tiles, self.gemv_warps(row_tiles, chunks, sorted(names))
            padded, tokens_of_block = TILE_ROWS, 1
        else:
            tile = self.kernels.tile(tokens)
            costs, names = self.kernels.matmul, {fmt: (fmt, tile.tokens) for _, fmt in segments}
            padded, tokens_of_block, warps = tile.rows, tile.tokens, tile.threads // 32
            blocks = sum(math.ceil(rows / tile.rows) for rows, _ in segments) * math.ceil(tokens / tile.tokens)
            blocks *= self.splits(tile, blocks, chunks)
        instructions = cycles = 0
        for rows, fmt in segments:
            one = costs[names[fmt]]
            products = math.ceil(rows / padded) * padded * chunks * CHUNK_COLS
            products *= math.ceil(tokens / tokens_of_block) * tokens_of_block
            instructions += products / one.products * one.instructions
            cycles += products / one.products * one.cycles
        instructions += blocks * (warps * one.every + one.rest)
        kernel = "gemv" if tokens == 1 else self.kernels.tile(tokens).name
        return [Op(stage, f"{kernel} {'+'.join(sorted(names))}", size, instructions, cycles, 0)]

    def gemv_warps(self, row_tiles, chunks, formats):
        """Warps of a block, as crates/cuda/src/ops/matmul/plan.rs counts the time of all rounds of blocks."""
        single = len(formats) == 1
        kernel = "gemv_mixed" if not single else self.kernels.gemv[formats[0]].name
        units = math.ceil(chunks / (1 if single and not formats[0].endswith("_k") else 2))

        def cost(warps):
            slots = self.device.sms * occupancy(self.kernels.used[kernel], 32 * warps)
            half_rounds = 2 * slots if row_tiles <= slots else 2 * row_tiles + slots
            return half_rounds * (2 * math.ceil(units / warps) + 3) / slots

        return min(range(1, min(16, units) + 1), key=cost)

    def splits(self, tile, blocks, chunks):
        """Parts of the columns that leave the device busy to the end, as plan.rs counts them."""
        pairs = math.ceil(chunks / 2)
        most = max(pairs // math.ceil(tile.column_warps * tile.slice_chunks / 2), 1)
        slots = self.device.sms * max(occupancy(self.kernels.used[tile.name], tile.threads, tile.dynamic), 1)
        return min(range(1, most + 1), key=lambda n: math.ceil(blocks * n / slots) * (math.ceil(pairs / n) + 2))

    def attention(self, _, layer):
        m = self.model
        one = self.kernels.attention["f16", m.head_dim]
        seen = min(self.context, m.window) if m.local and layer % (m.local + 1) < m.local else self.context
        kv_blocks = math.ceil(seen / KV_BLOCK)
        tiles = self.batch * m.kv_heads * math.ceil(m.heads // m.kv_heads / TILE_HEADS)
        # As crates/cuda/src/ops/attention/split.rs cuts sequences.
        filling = min(max(self.device.sms * 3 // tiles, 1), 32)
        splits = math.ceil(kv_blocks / max(math.ceil(kv_blocks / max(filling, 8)), 32 // filling, 4))
        units = tiles * kv_blocks * KV_BLOCK * 2 * m.head_dim * TILE_HEADS / one.products
        instructions = units * one.instructions + tiles * splits * (4 * one.every + one.rest)
        size = self.batch * seen * m.kv_heads * m.head_dim * 4
        return [Op("attention", one.name, size, instructions, units * one.cycles, 0)]

    def seconds(self, op, clock):
        """The time that bounds a launch: memory, issue slots or a pipe, whichever takes longest, and what each launch has."""
        rate = self.device.sms * 4 * clock
        work = max(op.bytes / self.device.bandwidth, op.instructions / rate, op.cycles / rate)
        return work + self.device.launch + (self.device.fill + op.fixed_cycles) / clock

    def total(self, clock):
        return sum(self.seconds(op, clock) for op in self.ops())


# What a layer cannot do without: a check that the launches were found.
OF_A_LAYER = {"norm", "qkv", "rope_kv", "attention", "attn_output", "gate_up", "ffn_down"}


# What Forward::run calls for each layer, and the methods that only other architectures take.
LAYER_METHODS = ("attention_block", "turn", "ffn_block", "leave")
OF_OTHERS = {"latent_attention", "plain", "experts", "route_heads", "per_layer_block"}
FILES = ("forward.rs", "forward/attention.rs", "forward/ffn.rs", "forward/residual.rs")


@functools.cache
def bodies():
    """Method of the forward pass -> its text."""
    text = "\n".join(read(f"crates/cuda/src/{file}") for file in FILES)
    methods = re.finditer(r"\n    (?:pub\(super\) )?fn (\w+)(?:<'a>)?\(\s*&(?:'a )?self.*?\n    }\n", text, flags=re.S)
    return {match[1]: match[0] for match in methods}


@functools.cache
def stages_of(method):
    """The stages that a method of the forward pass launches, in order, with those of the methods it calls."""
    found = []
    for stage, called in re.findall(
        r"self\.stage\(Stage::(\w+)|self\.(\w+)\(", bodies().get(method, "").split("{", 1)[-1]
    ):
        if stage:
            found.append(re.sub(r"(?<!^)([A-Z])", r"_\1", stage).lower())
        elif called in bodies() and called not in OF_OTHERS | {method}:
            found += stages_of(called)
    return found


def check_stages():
    """Ends the program where forward.rs launches what is not counted here, or a layer's launches were not found."""
    layer = [stage for method in LAYER_METHODS for stage in stages_of(method)]
    everything = layer + [stage for method in ("embed", "enter", "logits", "sampling") for stage in stages_of(method)]
    unknown = [stage for stage in everything if not hasattr(Step, stage)]
    missing = sorted(OF_A_LAYER - set(layer)) + sorted({"embed", "logits", "sampling"} - set(everything))
    if unknown or missing:
        raise SystemExit(f"error: forward.rs: stages unknown to models.py: {unknown}; not found there: {missing}")
