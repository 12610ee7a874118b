"""A kernel's machine code (nvdisasm's listing): its main loop, and what an iteration costs the pipes of a Turing sub-core.

The main loop is the smallest backward branch around the most streamed loads (`LDG...NA`: weights and KV alone pass L1 by).
Conditional branches forward, over code without memory or matrix instructions, guard the rare (masks, a softcap, a new
largest score): what they jump over is not counted.
"""

import collections
import re

LINE = re.compile(r"/\*([0-9a-f]{4,})\*/\s+(?:(@!?U?P\w+)\s+)?([A-Z][\w.]*)([^;]*);")
LABEL = re.compile(r"^\.(L_\w+):")
TARGET = re.compile(r"`\(\.(L_\w+)\)")

# Cycles that a warp's instruction keeps a pipe of one sub-core busy (CUDA's throughput table, compute capability 7.5; HMMA
# and IMMA from 65 TFLOP/s and 130 TOP/s). Any instruction takes one issue slot.
CYCLES = {"alu": 2, "fma": 2, "half": 2, "xu": 8, "hmma": 8, "imma": 4}
PIPES = {
    "fma": ("FFMA", "FMUL", "FADD", "IMAD", "IDP"),
    "half": ("HADD2", "HMUL2", "HFMA2"),
    "xu": ("MUFU", "I2F", "F2I", "F2F", "FLO", "POPC", "BREV"),
    "hmma": ("HMMA",),
    "imma": ("IMMA",),
    "alu": (
        "LOP3",
        "SHF",
        "PRMT",
        "IADD3",
        "ISETP",
        "FSETP",
        "FMNMX",
        "IMNMX",
        "LEA",
        "SEL",
        "FSEL",
        "MOV",
        "PLOP3",
        "SGXT",
        "VABSDIFF",
        "I2I",
        "R2P",
        "P2R",
        "BMSK",
    ),
}
PIPE_OF = {name: pipe for pipe, names in PIPES.items() for name in names}
# Multiplications of a warp's instruction, for the ones that do a kernel's work.
PRODUCTS = {"HMMA.1688": 1024, "HMMA.16816": 2048, "IMMA.8816": 1024, "IDP.4A": 128, "HFMA2": 64, "FFMA": 32}
USEFUL = ("LDG", "LDS", "LDSM", "STS", "STG", "HMMA", "IMMA", "IDP", "BAR")

Instruction = collections.namedtuple("Instruction", "address predicate name operands")


class Kernel:
    """Instructions and labels of one kernel."""

    def __init__(self, name):
        self.name = name
        self.code = []
        self.labels = {}

    def place(self, address):
        """Index of the first instruction at or after an address."""
        return next((i for i, one in enumerate(self.code) if one.address >= address), len(self.code))

    def target(self, instruction):
        match = TARGET.search(instruction.operands)
        return self.labels.get(match[1]) if match and instruction.name.startswith("BRA") else None

    def loops(self):
        """(first, last) index of every loop: a conditional branch back. Code that was moved behind the kernel's end jumps back
        without a condition; that is no loop."""
        targets = ((self.target(one), one, last) for last, one in enumerate(self.code) if one.predicate)
        return [(self.place(to), last) for to, one, last in targets if to is not None and to <= one.address]

    def main_loop(self):
        """(first, last) index of the main loop, or None."""
        streamed = {loop: sum(is_streamed(one) for one in self.code[loop[0] : loop[1] + 1]) for loop in self.loops()}
        most = max(streamed.values(), default=0)
        return min((loop for loop in streamed if streamed[loop] == most), key=len_of) if most else None

    def stage_loop(self):
        """The loop around the main one (a stage of activations, where the compiler kept its slices a loop), or None."""
        inner = self.main_loop()
        around = [loop for loop in self.loops() if loop[0] <= inner[0] and inner[1] < loop[1]]
        return min(around, key=len_of, default=None)

    def iteration(self):
        """Instructions of an iteration of the main loop that does not meet anything rare."""
        return self.walk(*self.main_loop())

    def stage(self):
        """What an iteration of the loop around has beside the main loop."""
        (first, last), inner = self.stage_loop(), self.main_loop()
        return self.walk(first, inner[0] - 1) + self.walk(inner[1] + 1, last)

    def walk(self, first, last):
        body, i = [], first
        while i <= last:
            one = self.code[i]
            body.append(one)
            target, i = self.target(one), i + 1
            if target is None or not one.predicate or target <= one.address:
                continue
            end = self.place(target)
            if end <= last and not any(base(skipped) in USEFUL for skipped in self.code[i:end]):
                i = end
        return body

    def around(self):
        """Instructions outside the main loop: those every warp has (to the first exit behind the loop), and the rest to the
        last exit, which about one warp of a block has. Upper bounds: branches are taken to be passed."""
        first, last = self.stage_loop() or self.main_loop()
        exits = [i for i, one in enumerate(self.code) if one.name == "EXIT"]
        every = next((i for i in exits if i > last), len(self.code) - 1)
        return first + every - last, max(exits[-1] - every, 0)


def len_of(loop):
    return loop[1] - loop[0]


def base(instruction):
    return instruction.name.split(".")[0]


def is_streamed(instruction):
    return instruction.name.startswith("LDG") and ".NA" in instruction.name


def products(body):
    """Multiplications of an iteration by whatever does most of them, tensor cores first."""
    for units in (("HMMA", "IMMA"), ("IDP",), ("FFMA",)):
        found = sum(
            PRODUCTS.get(".".join(one.name.split(".")[:2]), PRODUCTS.get(base(one), 0))
            for one in body
            if base(one) in units
        )
        if found:
            return found
    return 0


def pipe_cycles(body):
    """pipe -> cycles of a sub-core's pipes. Shared memory gives an SM 128 bytes a cycle: a sub-core a quarter."""
    cycles = collections.Counter()
    for one in body:
        if pipe := PIPE_OF.get(base(one)):
            cycles[pipe] += CYCLES[pipe]
        elif base(one) in ("LDS", "STS", "LDSM"):
            width = re.search(r"\.(64|128)", one.name)
            words = 4 if base(one) == "LDSM" else int(width[1]) // 32 if width else 1
            cycles["shared"] += 4 * words
        elif base(one) == "SHFL":
            cycles["shared"] += 4
    return cycles


def kernels(listing):
    """name -> Kernel."""
    found, kernel, waiting = {}, None, []
    for line in listing.splitlines():
        if match := re.match(r"^\.text\.(\w+):", line):
            kernel = found[match[1]] = Kernel(match[1])
        elif kernel is None:
            continue
        elif match := LABEL.match(line):
            waiting.append(match[1])
        elif match := LINE.search(line):
            address = int(match[1], 16)
            for label in waiting:
                kernel.labels[label] = address
            waiting.clear()
            kernel.code.append(Instruction(address, match[2] or "", match[3], match[4]))
    return found
