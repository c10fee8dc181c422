"""Spectra of Gabor kernels, eq. (2), on a GPU, multiplied where they are made.

`layers/portable.py` has the mathematics and computes the same in torch. The spectrum of a kernel is
of rank four: on the plane of the first two axes it has the values p_0, p_1, m_0 and m_1 of its two
waves, and along the last axis four factors for its real and four for its imaginary part. A first
kernel writes both down for every pair of channels; a second walks over the channels, makes each
pair's coefficients in registers and multiplies. Both are float32; what the angles of a pair's taps
are computed from is float64, and the angles are 32-bit integers (`synthesis.py`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gaborseg.gpu.sizes import SMALLEST_SIGMA, next_power_of_2

_ROWS, _COLUMNS, _WARPS = 64, 16, 4
"""Frequencies that a program of the product has in registers: rows (k0, k1) times columns k2."""

_FEW_ROWS, _FEW_WARPS = 16, 2
"""Where the frequencies are too few for so many programs."""

_FEW_PROGRAMS = 256

_FACTORS_AT_ONCE, _PAIRS_AT_ONCE = 512, 32
_SMOOTH = (2, 3, 5, 7, 11)
"""Prime factors of lengths whose Fourier transform is fast."""


class _Factors(NamedTuple):
    """The spectra of all kernels: p_0, p_1, m_0, m_1 of each row, and what they are multiplied by.

    Attributes:
        rows: (I, O, 4, N_0 * N_1).
        columns: Those of the real part, then those of the imaginary part, (I, O, 8, N_2 // 2 + 1).
    """

    rows: Tensor
    columns: Tensor


def periods(size: Sequence[int], kernel_size: int) -> tuple[int, int, int]:
    """Lengths of the transform for volumes of a size: what wraps around lands in the padding.

    The last one makes the number of its columns even, so that four numbers are loaded at once.
    """
    least = [length + radius_within(length, kernel_size) for length in size]
    first, second, third = (_smooth(length) for length in least)
    while (third // 2 + 1) % 2:
        third = _smooth(third + 1)
    return first, second, third


def radius_within(length: int, kernel_size: int) -> int:
    """Taps on each side of the centre that can meet a volume: those farther only meet padding."""
    return min(kernel_size // 2, length - 1)


def _smooth(length: int) -> int:
    """The smallest length from this one on that has only small prime factors."""
    rest = length
    for prime in _SMOOTH:
        while rest % prime == 0:
            rest //= prime
    return length if rest == 1 else _smooth(length + 1)


def factors(parameters: Tensor, size: Sequence[int], kernel_size: int) -> _Factors:
    """Compute the spectra of Gabor kernels, float32.

    Args:
        parameters: (8, I, O), on a GPU.
        size: Voxels of the volumes along each axis.
        kernel_size: Side K in voxels, odd.
    """
    from gaborseg.gpu.kernels import spectra as kernels  # slow to import, and of use on GPUs alone

    parameters = parameters.contiguous()
    _, inputs, outputs = parameters.shape
    period, radius = periods(size, kernel_size), max(1, kernel_size // 2)
    rows = _with_room_behind(parameters, inputs, outputs, 4, period[0] * period[1])
    columns = _with_room_behind(parameters, inputs, outputs, 8, period[2] // 2 + 1)
    taps = parameters.new_empty(6, radius, 2, inputs, outputs)
    amplitudes = parameters.new_empty(4, inputs, outputs)
    waves = [
        _waves(length, radius_within(voxels, kernel_size), radius, parameters.device)
        for length, voxels in zip(period, size, strict=True)
    ]
    side = min(_FACTORS_AT_ONCE, next_power_of_2(rows.shape[-1]))
    pairs, half_side = _FACTORS_AT_ONCE // side, next_power_of_2(columns.shape[-1])
    grid = -(-inputs * outputs // pairs), -(-rows.shape[-1] // side)
    with torch.cuda.device_of(parameters):
        kernels.taps_kernel[(-(-inputs * outputs // _PAIRS_AT_ONCE),)](
            parameters, taps, amplitudes, inputs * outputs, radius, _PAIRS_AT_ONCE, SMALLEST_SIGMA,
            num_warps=1,
        )  # fmt: skip
        kernels.factors_kernel[grid](
            taps, amplitudes, *waves, rows, columns, inputs * outputs,
            *period, radius, pairs, side, half_side, num_warps=_WARPS,
        )  # fmt: skip
    return _Factors(rows, columns)


def _with_room_behind(like: Tensor, *shape: int) -> Tensor:
    """An empty tensor behind which a last tile may read what it does not use."""
    return like.new_empty(math.prod(shape) + _ROWS)[: math.prod(shape)].view(shape)


@functools.lru_cache(maxsize=64)
def _waves(period: int, within: int, radius: int, device: torch.device) -> Tensor:
    """2 cos and -2 sin of 2 pi k t / N for frequencies k and offsets t = 1 ... r, (2, r, N).

    Zeros for the offsets that are not within the volume.
    """
    offsets = torch.arange(1, radius + 1)[:, None]
    share = (torch.arange(period) * offsets % period).double() / period
    angle = 2 * math.pi * share
    waves = torch.stack((2 * angle.cos(), -2 * angle.sin()))
    return (waves * (offsets <= within)).float().to(device)


def multiply(spectra: Tensor, given: _Factors, *, adjoint: bool = False) -> Tensor:
    """Multiply spectra of volumes by those of kernels, and add up over channels.

    Args:
        spectra: Of the inputs, (B, I, N_0, N_1, N_2 // 2 + 1), complex64; of the outputs for the
            adjoint.
        given: Of the kernels.
        adjoint: Go back from outputs to inputs, with conjugate kernels.

    Returns:
        Of the outputs, or of the inputs.
    """
    from gaborseg.gpu.kernels import spectra as kernels

    inputs, outputs = given.rows.shape[:2]
    summed, kept = (outputs, inputs) if adjoint else (inputs, outputs)
    steps = (1, outputs) if adjoint else (outputs, 1)
    result = spectra.new_empty(len(spectra), kept, *spectra.shape[2:])
    rows, half = spectra.shape[2] * spectra.shape[3], spectra.shape[4]
    some, warps = _ROWS, _WARPS
    blocks, others = -(-half // _COLUMNS), -(-kept // 2) * len(spectra)
    if -(-rows // some) * blocks * others < _FEW_PROGRAMS:
        some, warps = _FEW_ROWS, _FEW_WARPS
    if result.numel() == 0:
        return result
    with torch.cuda.device_of(spectra):
        kernels.multiply_kernel[-(-rows // some) * blocks, -(-kept // 2), len(spectra)](
            torch.view_as_real(spectra), *given, torch.view_as_real(result),
            summed, kept, *steps, rows, half, adjoint, some, _COLUMNS, num_warps=warps,
        )  # fmt: skip
    return result
