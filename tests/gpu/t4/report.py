#!/usr/bin/env python3
"""The T4 in figures: what the kernels' sm_75 machine code costs, and the decode speed that follows. All predicted.

usage: python3 tests/gpu/t4/report.py [--write docs/performance.md]      --write puts the tables between its two markers

Needs no GPU: NVRTC and nvdisasm from PyPI (python3 -m pip install nvidia-cuda-nvrtc-cu12 nvidia-cuda-nvdisasm). How it
counts stands in sass.py (machine code), kernels.py (costs of a kernel) and models.py (a step's launches and their time).
"""

import collections
import sys
import textwrap

from kernels import Kernels, occupancy
from models import MODELS, Device, Step, T4, check_stages

CLOCKS = (0.9e9, 1.59e9)
CONTEXT = 1024
BATCHES = (8, 16, 32)
MARKERS = ("<!-- T4 tables: begin -->", "<!-- T4 tables: end -->")
# Threads of a block: a middling one of the matrix-vector kernels, which have 64 to 256.
GEMV_THREADS, ATTENTION_THREADS = 128, 128
# Design targets on a T4, also predictions, and what the system before this one reached: tok/s by (model, format, batch).
TARGETS = {
    ("Gemma-3-1B", "Q4_K_M", 1): (250, 134),
    ("Llama-3.2-3B", "Q4_K_M", 1): (115, 85),
    ("Qwen2.5-7B", "Q4_K_M", 1): (54, 45),
    ("Llama-3.1-8B", "Q5_K_M", 1): (44, 38),
    ("Qwen2.5-7B", "Q4_K_M", 8): (380, None),
    ("Qwen2.5-7B", "Q4_K_M", 16): (650, None),
    ("Qwen2.5-7B", "Q4_K_M", 32): (1000, None),
}
# The same sums for a GPU that was measured (docs/performance.md): read bandwidth, and nodes with programmatic launches.
H100 = Device("H100", 132, 2944e9, 0.62e-6, 1500)
H100_CLOCK = 1.755e9
MEASURED = {
    ("Llama-3.2-1B", "Q4_K_M"): {1: 1628.6, 8: 9549.8, 16: 16166.2, 32: 24366.6, 64: 34947.6},
    ("Llama-3.1-8B", "Q4_K_M"): {1: 432.9, 8: 2550.0, 16: 4196.4, 32: 6640.4, 64: 8841.4},
}
MEASURED_CONTEXT = 528  # 512 and half of the 32 generated


def table(head, rows):
    """A Markdown table with numbers to the right."""
    rows = [[str(cell) for cell in row] for row in rows]

    def line(cells):
        return "| " + " | ".join(c.ljust(w) if l else c.rjust(w) for c, w, l in zip(cells, widths, left)) + " |"

    widths = [max(len(line[i]) for line in [head, *rows]) for i in range(len(head))]
    left = [all(not row[i][:1].isdigit() for row in rows) for i in range(len(head))]
    rule = "|" + "|".join("-" * (w + 1) + ("-" if l else ":") for w, l in zip(widths, left)) + "|"
    return "\n".join([line(head), rule, *map(line, rows)])


def limit(one, clock):
    """GB/s at which issue slots or the busiest pipe of a T4 are full."""
    return T4.sms * 4 * clock / max(one.instructions, one.cycles) * one.unit_bytes / 1e9


def loops(kernels):
    """Main loops of the matrix-vector and attention kernels."""
    rows = []
    for what, costs, threads in (
        ("gemv", kernels.gemv, GEMV_THREADS),
        ("attention", kernels.attention, ATTENTION_THREADS),
    ):
        for one in costs.values():
            if what == "attention" and one.name.rsplit("_", 1)[1] not in ("64", "128", "256"):
                continue
            used = kernels.used[one.name]
            warps = occupancy(used, threads) * threads // 32
            rows.append(
                [
                    f"`{one.name}`",
                    used.registers,
                    used.shared,
                    used.spilled,
                    warps,
                    f"{one.unit_bytes:.0f}",
                    f"{one.instructions:.0f}",
                    f"{one.instructions / one.unit_bytes:.3f}",
                    f"{one.pipe} {one.cycles / one.unit_bytes:.3f}",
                    f"{limit(one, CLOCKS[0]):.0f} / {limit(one, CLOCKS[1]):.0f}",
                    f"{warps * one.unit_bytes / 1024:.0f}",
                ]
            )
    head = ["kernel", "registers", "shared B", "spilled B", "warps of 32", "bytes", "instructions", "per byte"]
    head += ["busiest pipe, cycles per byte", "GB/s it allows, 900 / 1590 MHz", "KiB in flight an SM"]
    return table(head, rows)


def tile_kernels(kernels):
    rows = []
    for tile in kernels.tiles:
        used = kernels.used[tile.name]
        blocks = occupancy(used, tile.threads, tile.dynamic)
        rows.append(
            [
                f"`{tile.name}`",
                used.registers,
                f"{used.shared} + {tile.dynamic}",
                used.spilled,
                tile.rows,
                blocks,
                blocks * tile.threads // 32,
            ]
        )
    head = ["kernel", "registers", "shared B, static + dynamic", "spilled B", "rows of a block", "blocks an SM"]
    return table([*head, "warps of 32"], rows)


def tile_loops(kernels):
    rows = []
    for fmt in kernels.chunk:
        ones = [kernels.matmul[fmt, tile.tokens] for tile in kernels.tiles]
        cells = [f"{one.instructions / one.unit_bytes:.2f}, {one.pipe}: " for one in ones]
        limits = [" / ".join(f"{limit(one, clock):.0f}" for clock in CLOCKS) for one in ones]
        rows.append([fmt] + [cell + text for cell, text in zip(cells, limits)])
    return table(["weights"] + [f"{tile.tokens} tokens" for tile in kernels.tiles], rows)


def others(kernels):
    """Registers of what has no main loop here."""
    counted = {one.name for costs in (kernels.gemv, kernels.attention) for one in costs.values()}
    counted |= {tile.name for tile in kernels.tiles}
    rest = [f"`{name}` {used.registers}" for name, used in sorted(kernels.used.items()) if name not in counted]
    spilled = [f"`{name}` {used.spilled} bytes" for name, used in kernels.used.items() if used.spilled]
    return textwrap.fill(f"Registers of the others: {', '.join(rest)}. Spills: {', '.join(spilled) or 'none'}.", 120)


def stages(step):
    """A step's launches by stage."""
    sums = collections.OrderedDict()
    for op in step.ops():
        one = sums.setdefault(op.stage, [0] * 4 + [0.0] * len(CLOCKS))
        values = [1, op.bytes, op.instructions, op.cycles, *(step.seconds(op, clock) for clock in CLOCKS)]
        sums[op.stage] = [a + b for a, b in zip(one, values)]
    rows = []
    for stage, (count, size, instructions, cycles, *seconds) in sums.items():
        per_byte = f"{instructions / size:.3f}" if instructions else ""
        times = [f"{s * 1e6:.0f}" for s in seconds]
        rows.append([stage, count, f"{size / 1e6:.1f}", per_byte, *times, bound(size, instructions, cycles, count)])
    total = [sum(one[i] for one in sums.values()) for i in range(6)]
    rows.append(["step", total[0], f"{total[1] / 1e6:.1f}", "", *(f"{s * 1e6:.0f}" for s in total[4:]), ""])
    return table(
        ["stage", "launches", "MB", "instructions per byte", "us at 900 MHz", "us at 1590 MHz", "bound at 900 MHz"],
        rows,
    )


def bound(size, instructions, cycles, count):
    rate = T4.sms * 4 * CLOCKS[0]
    times = {"memory": size / T4.bandwidth, "issue": instructions / rate, "pipe": cycles / rate}
    times["launch"] = count * (T4.launch + T4.fill / CLOCKS[0])
    return max(times, key=times.get)


Measured = collections.namedtuple("Measured", "name batch speed possible extra_cycles")


def losses(kernels):
    """What the GPU that was measured loses against the same bound: as a share, and in cycles a launch."""
    found = []
    for (name, quant), speeds in MEASURED.items():
        model = next(m for m in MODELS if (m.name, m.quant) == (name, quant))
        for batch, speed in speeds.items():
            step = Step(kernels, model, batch, MEASURED_CONTEXT, H100)
            seconds = step.total(H100_CLOCK)
            extra = (batch / speed - seconds) * H100_CLOCK / len(step.ops())
            found.append(Measured(name, batch, speed, batch / seconds, extra))
    return found


def check(found):
    rows = []
    for one in found:
        share = f"{one.speed / one.possible * 100:.0f} %"
        rows.append([one.name, one.batch, f"{one.speed:.0f}", f"{one.possible:.0f}", share, f"{one.extra_cycles:.0f}"])
    return table(["model, Q4_K_M", "batch", "measured tok/s", "the bound", "share", "cycles lost a launch"], rows)


def sums(kernels, found):
    rows = []
    for model in MODELS:
        for batch in (1, *BATCHES):
            step = Step(kernels, model, batch, CONTEXT)
            low, high = (step.total(clock) for clock in CLOCKS)
            alike = [one for one in found if one.batch == batch]
            share = min(one.speed / one.possible for one in alike)
            extra = max(one.extra_cycles for one in alike) * len(step.ops()) / CLOCKS[1]
            target, floor = TARGETS.get((model.name, model.quant, batch), (None, None))
            size = sum(op.bytes for op in step.ops())
            rows.append(
                [
                    f"{model.name} {model.quant}",
                    batch,
                    f"{size / 1e9:.2f}",
                    f"{batch * T4.bandwidth / size:.0f}",
                    f"{batch / low:.0f}",
                    f"{batch / high:.0f}",
                    f"{batch / low * share:.0f} to {batch / (high + extra):.0f}",
                    target or "",
                    floor or "",
                ]
            )
    head = [
        "model",
        "batch",
        "GB a step",
        "memory alone",
        "bound, 900 MHz",
        "bound, 1590 MHz",
        "with the H100's losses",
    ]
    return table([*head, "design target", "floor"], rows)


def report(kernels):
    found = losses(kernels)
    find = {(m.name, m.quant): m for m in MODELS}
    parts = [
        "Main loops, batch 1 and attention. Bytes are those of weights or KV that a warp's iteration reads.",
        loops(kernels),
        "Products of 2 to 64 tokens.",
        tile_kernels(kernels),
        "Their main loops: instructions per byte of weights, busiest pipe: GB/s it allows at 900 / 1590 MHz.",
        tile_loops(kernels),
        others(kernels),
    ]
    for name, batch in (("Gemma-3-1B", 1), ("Qwen2.5-7B", 1), ("Qwen2.5-7B", 16)):
        parts.append(f"One step of {name} Q4_K_M, batch {batch}, contexts of {CONTEXT} tokens, predicted.")
        parts.append(stages(Step(kernels, find[name, "Q4_K_M"], batch, CONTEXT)))
    parts += [f"Predicted tok/s in sum, contexts of {CONTEXT} tokens, f16 KV.", sums(kernels, found)]
    parts += ["The same sums for the H100, beside what was measured there.", check(found)]
    return "\n\n".join(parts)


def main():
    check_stages()
    text = report(Kernels())
    if sys.argv[1:2] != ["--write"]:
        print(text)
        return
    path = sys.argv[2]
    with open(path, encoding="utf-8") as file:
        before, rest = file.read().split(MARKERS[0])
    after = rest.split(MARKERS[1])[1]
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{before}{MARKERS[0]}\n{text}\n{MARKERS[1]}{after}")


if __name__ == "__main__":
    main()
