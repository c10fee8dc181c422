"""The modelled memory of a training step, and the largest volume that fits.

Counted is what torch allocates: parameters, their gradients and the optimizer's state, the volume
and its labels, and at the peak of a step everything else that is alive. Libraries need more, which
depends on their version and is not modelled: a gibibyte is set aside for them.
"""

from __future__ import annotations

import functools

from gaborseg.benchmarks.modelled.steps import Variant, network_of, step_of
from gaborseg.benchmarks.report import Cell

GIBIBYTE = 2**30
_MEBIBYTE = 2**20
_BYTES, _COPIES = 4, 4
"""float32; a parameter, its gradient, and the two moments of Nadam."""

_OF_A_VOXEL = 4 + 8
"""Bytes of an image's voxel and of its label."""

_STRIDE = 16
_TRACED = (64, 128)
_MEMORIES = (8, 16, 24, 80)


def memory_row(variant: Variant, size: int) -> dict[str, Cell]:
    """The memory of a step at a size, and the largest cubes for cards of several sizes."""
    cell: dict[str, Cell] = {
        **variant.columns,
        "kept [MiB]": _kept(variant.kernel, size) / _MEBIBYTE,
        "extra memory [MiB]": peak(variant, size) / _MEBIBYTE,
    }
    largest = {f"{gib} GiB": f"{largest_side(variant, gib * GIBIBYTE)}³" for gib in _MEMORIES}
    return {**cell, **largest}


def largest_side(variant: Variant, memory: int) -> int:
    """The side of the largest cube, a multiple of 16, whose step fits into bytes of memory."""
    side = 0
    while needed(variant, side + _STRIDE) <= memory - GIBIBYTE:
        side += _STRIDE
    return side


def needed(variant: Variant, side: int) -> float:
    """Bytes for a step: a constant and a multiple of the voxels, from two traced steps."""
    small, large = (peak(variant, size) for size in _TRACED)
    voxels = [size**3 for size in (*_TRACED, side)]
    share = (voxels[2] - voxels[0]) / (voxels[1] - voxels[0])
    return _kept(variant.kernel, side) + small + share * (large - small)


def peak(variant: Variant, size: int) -> int:
    """Most bytes of a step at a time, beyond what is kept from step to step."""
    return step_of(variant, size).peak


def _kept(kernel: str, size: int) -> int:
    """Bytes that are there before a step and after it."""
    return _BYTES * _COPIES * _parameters(kernel) + _OF_A_VOXEL * size**3


@functools.cache
def _parameters(kernel: str) -> int:
    _, network = network_of(kernel)
    return sum(parameter.numel() for parameter in network.parameters())
