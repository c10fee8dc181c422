"""The machine code of a kernel: its instructions and its loops."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_LABEL = re.compile(r"^(\.L_\w+):")
_INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?PT?\d*\s+)?([A-Z][A-Z0-9.a-z_]*)(.*)")
_TARGET = re.compile(r"`\((\.L_\w+)\)")
_FLOATING = re.compile(r"(FFMA|FADD|FMUL|DFMA|DADD|DMUL|HMMA|HFMA2|HADD2|HMUL2)")


class Instruction(NamedTuple):
    """One instruction: its name with all modifiers, ``LDG.E.128``, and what it is applied to."""

    opcode: str
    operands: str

    @property
    def name(self) -> str:
        """The name without modifiers: ``LDG``."""
        return self.opcode.partition(".")[0]


class Code(NamedTuple):
    """The instructions of a kernel in their order, and its loops as ranges of them."""

    instructions: Sequence[Instruction]
    loops: Sequence[range]

    def inner_loop(self) -> Sequence[Instruction]:
        """Instructions of the loop that computes most, without those of loops in it.

        Empty if no loop has an instruction on floating-point numbers.
        """
        bodies = [self._own(loop) for loop in self.loops]
        busy = max(bodies, key=_floating, default=())
        return busy if _floating(busy) else ()

    def outside(self) -> Sequence[Instruction]:
        """Instructions that stand in no loop."""
        inside = {at for loop in self.loops for at in loop}
        return [line for at, line in enumerate(self.instructions) if at not in inside]

    def _own(self, loop: range) -> Sequence[Instruction]:
        nested = [
            other
            for other in self.loops
            if other != loop and other.start in loop and other[-1] in loop
        ]
        inside = {at for other in nested for at in other}
        return [self.instructions[at] for at in loop if at not in inside]


def code_of(listing: str) -> Code:
    """The code that `nvdisasm -c` has listed.

    Example:
        >>> code = code_of('''
        ... .L_x_0:
        ...         /*0010*/                   FFMA R1, R2, R3, R1 ;
        ...         /*0020*/              @P0 BRA `(.L_x_0) ;
        ...         /*0030*/                   EXIT ;
        ... ''')
        >>> [line.opcode for line in code.inner_loop()], [line.name for line in code.outside()]
        (['FFMA', 'BRA'], ['EXIT'])
    """
    labels: dict[str, int] = {}
    instructions: list[Instruction] = []
    for line in listing.splitlines():
        if label := _LABEL.match(line):
            labels[label[1]] = len(instructions)
        elif found := _INSTRUCTION.match(line):
            instructions.append(Instruction(found[1], found[2]))
    return Code(instructions, sorted(set(_loops(instructions, labels)), key=len))


def _loops(instructions: Sequence[Instruction], labels: dict[str, int]) -> Iterator[range]:
    """What each jump back repeats; an endless jump to itself, which ends the code, is none."""
    for at, instruction in enumerate(instructions):
        target = _TARGET.search(instruction.operands)
        if instruction.name == "BRA" and target and labels.get(target[1], at) < at:
            yield range(labels[target[1]], at + 1)


def _floating(instructions: Sequence[Instruction]) -> int:
    """How many instructions compute with floating-point numbers."""
    return sum(bool(_FLOATING.match(instruction.opcode)) for instruction in instructions)
