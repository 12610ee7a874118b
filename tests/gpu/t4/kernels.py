"""What the project's decode kernels cost on sm_75, per multiplication, from their machine code.

Each format has kernels of its own, in a file of its own that the registry puts together; this script does the same.
"""

import collections
import math
import os
import re

import sass
import toolkit

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../.."))
FORMATS = ["q4_k", "q5_k", "q6_k", "q8_0", "q4_0", "q5_0", "f16"]
TILE_ROWS, CHUNK_COLS, KV_BLOCK, TILE_HEADS = 16, 128, 16, 8
# Registers are given out in pieces of 8 a thread, a quarter of them to each sub-core.
REGISTERS, SHARED, WARPS, BLOCKS, SUB_CORES = 65536, 65536, 32, 16, 4

Resources = collections.namedtuple("Resources", "registers shared spilled")
# Costs of one multiplication, in instructions and pipe cycles of a warp; `every`, `rest`: what a warp, a block has beside.
Cost = collections.namedtuple("Cost", "name unit_bytes instructions cycles pipe products every rest loads")
# The kernels matmul_T; `name` is that of q4_k.
Tile = collections.namedtuple("Tile", "name tokens rows slice_chunks column_warps threads dynamic")


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


def registry():
    """Type and slot (chunks, bytes of its planes) by format, as crates/cuda/src/repack/registry.rs has them."""
    text = read("crates/cuda/src/repack/registry.rs")
    found = {}
    for name in FORMATS:
        match = re.search(rf'(\w+): "{name}", \d+, \((\d+), (\d+), (\d+), (\d+), (\d+)\);', text)
        if not match:
            raise SystemExit(f"error: registry.rs has no line of `{name}` with five numbers of its slot")
        found[name] = (match[1], [int(n) for n in match.groups()[1:]])
    return found


def chunk_bytes():
    """Bytes of a chunk (16 rows, 128 columns) by format."""
    return {name: sum(planes) // span for name, (_, [span, *planes]) in registry().items()}


def seen_by_sm_75(source):
    """The lines that conditions on the architecture leave to sm_75."""
    kept, open_conditions = [], []
    for line in source.splitlines():
        if match := re.match(r"#if(?:def)? (.*)", line):
            condition = re.sub(r"__CUDA_ARCH__", "750", match[1].split("//")[0])
            numbers = re.fullmatch(r"\s*(\d+)\s*(>=|<)\s*(\d+)\s*", condition)
            # Anything else is a feature of a later architecture.
            holds = bool(numbers) and (int(numbers[1]) >= int(numbers[3])) == (numbers[2] == ">=")
            open_conditions.append(holds)
        elif line.startswith("#else"):
            open_conditions[-1] = not open_conditions[-1]
        elif line.startswith("#endif"):
            open_conditions.pop()
        elif all(open_conditions):
            kept.append(line)
    return "\n".join(kept)


def tiles():
    """The kernels matmul_T, from their shapes."""
    source = seen_by_sm_75(read("kernels", "include", "quant_matmul.cuh"))
    shapes = {name: [int(n) for n in given.split(",")] for name, given in re.findall(r"using (\w+) = TileShape<([^>]*)>", source)}
    found = []
    for tokens, name in re.findall(r"MATMUL_SHAPE\(name, (\d+), (\w+), ", source):
        nt, mt, wk, sc = shapes[name]
        rows, stages = 8 // wk * mt * TILE_ROWS, 2 * wk * sc * nt * 8 * 256
        if int(tokens) != nt * 8:
            raise SystemExit(f"error: quant_matmul.cuh: matmul_{tokens} has {nt} tiles of 8 tokens")
        found.append(Tile(f"matmul_{tokens}_q4_k", nt * 8, rows, sc, wk, 256, max(stages, (wk - 1) * rows * nt * 8 * 4)))
    if not found:
        raise SystemExit("error: quant_matmul.cuh has no `MATMUL_SHAPE(name, TOKENS, SHAPE, ...)`")
    return sorted(found, key=lambda tile: tile.tokens)


def sources():
    """Jobs for the compiler, and the headers."""
    headers = {}
    for folder in ("include", "formats"):
        for name in sorted(os.listdir(os.path.join(ROOT, "kernels", folder))):
            headers[name] = read("kernels", folder, name)
    jobs = {}
    for name in sorted(os.listdir(os.path.join(ROOT, "kernels"))):
        if name.endswith(".cu"):
            jobs[name] = (name, read("kernels", name), {})
    for name, (ggml_type, slot) in registry().items():
        macro = "HALF_KERNELS" if name == "f16" else "QUANT_KERNELS"
        text = f'#include "{name}.cuh"\n#include "quant_kernels.cuh"\n{macro}({name}, {ggml_type}, {", ".join(map(str, slot))})\n'
        jobs[f"{name}.cu"] = (f"{name}.cu", text, {})
    return jobs, headers


def cost(kernel, unit_products, unit_bytes, stage_units=1):
    """Costs of a kernel's main loop. A unit is what `unit_products` multiplications and `unit_bytes` of weights or KV belong
    to; the loop around, if any, has `stage_units` of them."""
    body = kernel.iteration()
    units = sass.products(body) / unit_products
    if units < 0.5 or abs(units - round(units)) > 0.05:
        raise SystemExit(f"error: {kernel.name}: an iteration has {units:.2f} units of work; the loop was not found")
    instructions, cycles = len(body), sass.pipe_cycles(body)
    if kernel.stage_loop() and stage_units > units:
        share, stage = units / stage_units, kernel.stage()
        instructions += share * len(stage)
        for pipe, more in sass.pipe_cycles(stage).items():
            cycles[pipe] += share * more
    pipe, most = max(cycles.items(), key=lambda item: item[1])
    products = units * unit_products
    loads = 512 * sum(sass.is_streamed(one) for one in body)
    return Cost(kernel.name, units * unit_bytes, instructions, most, pipe, products, *kernel.around(), loads)


def occupancy(used, threads, dynamic=0):
    """Blocks of threads that an SM holds."""
    warps = threads // 32
    by_registers = SUB_CORES * (REGISTERS // SUB_CORES // (32 * 8 * math.ceil(used.registers / 8))) // warps
    shared = math.ceil((used.shared + dynamic) / 256) * 256
    return min(BLOCKS, WARPS // warps, by_registers, SHARED // shared if shared else BLOCKS)


class Kernels:
    """Everything that is known of the kernels: `used` by name, `gemv`, `matmul` by format, `attention` by (KV type, head)."""

    def __init__(self):
        jobs, headers = sources()
        built = toolkit.compile_all(jobs, headers)
        self.chunk = chunk_bytes()
        self.tiles = tiles()
        self.used = {}
        for _, used in built.values():
            self.used.update({name: Resources(*one) for name, one in used.items()})
        code = {}
        for job in [*(f"{fmt}.cu" for fmt in FORMATS), "attention_decode.cu"]:
            code.update(sass.kernels(built[job][0]))
        products = TILE_ROWS * CHUNK_COLS
        self.gemv, self.matmul, self.attention = {}, {}, {}
        for fmt, size in self.chunk.items():
            kernel = code[f"gemv_{fmt}"]
            self.gemv[fmt] = half_cost(kernel, size) if fmt == "f16" else cost(kernel, products, size)
            for tile in self.tiles:
                stage_units = tile.slice_chunks * tile.rows * tile.column_warps // (tile.threads // 32 * TILE_ROWS)
                self.matmul[fmt, tile.tokens] = cost(code[f"matmul_{tile.tokens}_{fmt}"], products * tile.tokens, size, stage_units)
        for name, kernel in code.items():
            if match := re.fullmatch(r"attention_decode_(f16|q8)_(\d+)", name):
                kv_type, dim = match[1], int(match[2])
                size = 2 * KV_BLOCK * (2 * dim if kv_type == "f16" else dim + dim // 16)
                self.attention[kv_type, dim] = cost(kernel, 2 * KV_BLOCK * dim * TILE_HEADS, size)

    def tile(self, tokens):
        """The kernel matmul_T for so many tokens."""
        return next((tile for tile in self.tiles if tile.tokens >= tokens), self.tiles[-1])


def half_cost(kernel, size):
    """gemv_f16 multiplies in f32, as it converts: a unit is told by its loads."""
    body = kernel.iteration()
    units = 512 * sum(sass.is_streamed(one) for one in body) / size
    pipe, most = max(sass.pipe_cycles(body).items(), key=lambda item: item[1])
    products = units * TILE_ROWS * CHUNK_COLS
    return Cost(kernel.name, units * size, len(body), most, pipe, products, *kernel.around(), units * size)
