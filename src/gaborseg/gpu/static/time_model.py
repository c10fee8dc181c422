"""A model of the time of a kernel on a card: instructions against what a processor can start.

Each of a processor's four schedulers starts one instruction of a warp a cycle; multiply-adds,
integers, special functions, float64 and loads have lower rates on some processors. The busiest of
these decides. The other limit is traffic, every tensor once, over the card's bandwidth. Waiting,
caches and the start of a kernel are not modelled: real times are longer.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gaborseg.gpu.static.cards import SCHEDULERS, WARP, Card, Processor
from gaborseg.gpu.static.compilation import Compiled
from gaborseg.gpu.static.launches import Launch
from gaborseg.gpu.static.sass import Instruction

_FLOAT32 = {"FFMA", "FADD", "FMUL"}
_PACKED = {"FFMA2", "FADD2", "FMUL2"}
_FLOAT64 = {"DFMA", "DADD", "DMUL", "DSETP"}
_INTEGER = {
    "IMAD",
    "IADD3",
    "IADD",
    "IABS",
    "ISETP",
    "IMNMX",
    "LOP3",
    "SHF",
    "LEA",
    "PRMT",
    "VIADD",
}
_MEMORY = {"LDG", "STG", "LDS", "STS", "LDL", "STL"}
_INTEGERS_A_CYCLE = 64
_SPECIALS_A_CYCLE = 16
_BYTES_A_CYCLE = 128


@dataclass(frozen=True)
class Estimate:
    """The modelled time of a launch in seconds: by instructions, and by traffic."""

    instructions: float
    traffic: float

    @property
    def seconds(self) -> float:
        """The longer of both."""
        return max(self.instructions, self.traffic)


def estimate(launch: Launch, kernel: Compiled, trips: float, card: Card) -> Estimate:
    """Model the time of a launch on a card.

    Args:
        launch: What is launched.
        kernel: The same, compiled for the card.
        trips: How often a program runs its inner loop.
        card: Where it runs.
    """
    once, again = _cycles(kernel, card.processor)
    cycles = max(once[part] + trips * again[part] for part in once)
    rounds = math.ceil(launch.programs / card.processors)
    seconds = rounds * kernel.warps * cycles / SCHEDULERS / (card.clock * 1e9)
    return Estimate(seconds, launch.traffic / (card.bandwidth * 1e9))


@functools.cache
def _cycles(
    kernel: Compiled, processor: Processor
) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """The cycles of a kernel's instructions outside of loops, and of those of its inner loop."""
    code = kernel.code
    return busy_cycles(code.outside(), processor), busy_cycles(code.inner_loop(), processor)


def busy_cycles(instructions: Iterable[Instruction], processor: Processor) -> Mapping[str, float]:
    """For how many cycles each part of a scheduler is busy with the instructions of a warp."""
    cycles = dict.fromkeys(("issue", "float32", "float64", "integer", "special", "memory"), 0.0)
    for instruction in instructions:
        cycles["issue"] += 1
        part, lanes = _part(instruction, processor)
        if part:
            cycles[part] += WARP * SCHEDULERS / lanes
    return cycles


def ffma_share(instructions: Iterable[Instruction]) -> float:
    """The share of instructions that are float32 multiply-adds; 0 of none."""
    names = [instruction.name for instruction in instructions]
    return sum(name in {"FFMA", "FFMA2"} for name in names) / max(len(names), 1)


def _part(instruction: Instruction, processor: Processor) -> tuple[str, float]:
    """What executes an instruction, and of how many threads a cycle; nothing that limits: ''."""
    name = instruction.name
    if name in _FLOAT32:
        return "float32", processor.float32
    if name in _PACKED:
        return "float32", processor.float32 / 2
    if name in _FLOAT64:
        return "float64", processor.float64
    if name in _INTEGER:
        return "integer", _INTEGERS_A_CYCLE
    if name == "MUFU":
        return "special", _SPECIALS_A_CYCLE
    if name in _MEMORY:
        return "memory", _BYTES_A_CYCLE / _bytes_of(instruction)
    return "", 1


def _bytes_of(instruction: Instruction) -> int:
    """What a load or store moves for each thread; at least 4 bytes are paid for."""
    modifiers = instruction.opcode.split(".")
    return next((bits // 8 for bits in (128, 64) if str(bits) in modifiers), 4)
