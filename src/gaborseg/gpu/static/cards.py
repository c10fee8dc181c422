"""What NVIDIA's cards and their processors offer, by their maker's documents. Nothing is measured.

References:
    NVIDIA, CUDA C++ Programming Guide: technical specifications and arithmetic throughput by
    compute capability.
    NVIDIA, data sheets and architecture white papers of the Tesla T4, Tesla V100, A100 80GB,
    GeForce RTX 4090 (Ada), H100 SXM and H200 SXM: processors, boost clock, memory, peak rates
    without sparsity.
"""

from typing import NamedTuple

WARP = 32
SCHEDULERS = 4
"""Parts of a processor, each of which starts one instruction of a warp a cycle."""

_REGISTERS = 65536
_KIBIBYTE = 1024
_REGISTERS_AT_ONCE = 8
"""Registers of a thread are handed out in eights."""


class Processor(NamedTuple):
    """What one streaming multiprocessor of a compute capability can hold, and what it computes.

    Attributes:
        warps: Most warps that reside at a time.
        programs: Most programs (blocks) that reside at a time.
        shared: Shared memory in KiB.
        shared_of_program: The most of it that one program may have, in KiB.
        float32: float32 multiply-adds a cycle.
        float64: float64 multiply-adds a cycle.
    """

    warps: int
    programs: int
    shared: int
    shared_of_program: int
    float32: int
    float64: int

    def resident_programs(self, warps: int, registers: int, shared: int) -> int:
        """How many programs reside at a time; 0 if one alone is too large.

        Args:
            warps: Warps of a program.
            registers: Registers of each thread.
            shared: Bytes of shared memory of a program.
        """
        if shared > self.shared_of_program * _KIBIBYTE:
            return 0
        granted = -(-max(registers, 1) // _REGISTERS_AT_ONCE) * _REGISTERS_AT_ONCE
        by_registers = _REGISTERS // SCHEDULERS // (granted * WARP) * SCHEDULERS // warps
        reserved = (self.shared - self.shared_of_program) * _KIBIBYTE
        by_shared = self.shared * _KIBIBYTE // max(shared + reserved, 1)
        return min(self.programs, self.warps // warps, by_registers, by_shared)


PROCESSORS = {
    70: Processor(64, 32, 96, 96, 64, 32),
    75: Processor(32, 16, 64, 64, 64, 2),
    80: Processor(64, 32, 164, 163, 64, 32),
    86: Processor(48, 16, 100, 99, 128, 2),
    89: Processor(48, 24, 100, 99, 128, 2),
    90: Processor(64, 32, 228, 227, 128, 64),
    100: Processor(64, 32, 228, 227, 128, 64),
    120: Processor(48, 24, 100, 99, 128, 2),
}
"""By compute capability, 90 for 9.0."""


class Card(NamedTuple):
    """A card as its data sheet describes it.

    Attributes:
        capability: Compute capability, 90 for 9.0.
        processors: Streaming multiprocessors.
        clock: Boost clock in GHz.
        bandwidth: Of its memory, in GB/s.
        memory: In GB.
        tf32: Peak of dense TF32 products in TFLOP/s; None without them.
        bf16: Peak of dense bfloat16 products added in float32, in TFLOP/s; None without them.
    """

    capability: int
    processors: int
    clock: float
    bandwidth: float
    memory: int
    tf32: float | None
    bf16: float | None

    @property
    def processor(self) -> Processor:
        """What each of its processors offers."""
        return PROCESSORS[self.capability]

    @property
    def float32(self) -> float:
        """Peak of float32 in TFLOP/s: two operations a multiply-add."""
        return 2 * self.processors * self.processor.float32 * self.clock / 1e3


CARDS = {
    "T4": Card(75, 40, 1.59, 320, 16, None, None),
    "V100": Card(70, 80, 1.53, 900, 16, None, None),
    "A100": Card(80, 108, 1.41, 2039, 80, 156, 312),
    "RTX 4090": Card(89, 128, 2.52, 1008, 24, 82.6, 165.2),
    "H100": Card(90, 132, 1.98, 3350, 80, 494.7, 989.4),
    "H200": Card(90, 132, 1.98, 4800, 141, 494.7, 989.4),
}
"""Those that times are modelled for, by name."""
