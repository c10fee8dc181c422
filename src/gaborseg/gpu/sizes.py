"""Sizes that kernels are launched with."""

SMALLEST_SIGMA = 0.01
"""Voxels; `layers/grid.py` has the same and says why."""


def next_power_of_2(count: int) -> int:
    """The smallest power of 2 that is at least a positive count."""
    return 1 << (count - 1).bit_length()
