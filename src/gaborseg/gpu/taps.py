"""The gradient of a convolution by its kernels' taps, on a GPU, from spectra.

dL/dG(t) = sum over voxels v of dL/dy(v) x(v + t) is, by the theorem of convolution, a sum over
frequencies of D = conj(dL/dY) X. It is taken for the taps alone: a matrix product with the waves of
the last axis, (rows, columns) to (rows, taps), then one with those of the first two. Both are tiles
of a program, so that D is never written down. Partial sums are added in a fixed order.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gaborseg.gpu.sizes import next_power_of_2
from gaborseg.gpu.spectra import periods

_TOGETHER, _ROWS, _COLUMNS, _WARPS = 4, 32, 16, 4
"""Outputs, rows and columns of a program's tile."""

_FEWEST_TAPS = 8
"""Of an axis, padded by taps of zeros: matrix products want as many."""

_PROGRAMS = 1024
"""Programs that fill any card; where the pairs of channels are fewer, rows are split."""

_MOST_ROWS = 1024
"""Rows that one program adds up in float32."""


def tap_gradient(
    outputs: Tensor, inputs: Tensor, size: Sequence[int], kernel_size: int, *, exact: bool = True
) -> Tensor:
    """The gradient by kernels, (O, I, K, K, K), of a 'same' convolution of real volumes.

    Args:
        outputs: Spectra of the gradient by the outputs, (B, O, N_0, N_1, N_2 // 2 + 1), complex64,
            with the `periods` of the volumes.
        inputs: Spectra of the inputs, (B, I, N_0, N_1, N_2 // 2 + 1).
        size: Voxels of the volumes along each axis.
        kernel_size: Side K in voxels, odd.
        exact: To the rounding of float32; otherwise to eleven digits, which bfloat16 has not.
    """
    from gaborseg.gpu.kernels.taps import tap_kernel  # slow to import, and of use on GPUs alone

    period = periods(size, kernel_size)
    columns, phases = _waves(tuple(size), kernel_size, outputs.device)
    side, plane = columns.shape[-1] // 2, phases.shape[1]
    kept, summed = outputs.shape[1], inputs.shape[1]
    together = _TOGETHER if side == _FEWEST_TAPS else 1  # what larger kernels leave room for
    rows = period[0] * period[1]
    splits = max(1, -(-rows // _MOST_ROWS), min(-(-_PROGRAMS // (kept * summed)), rows // _ROWS))
    share = -(-rows // (splits * _ROWS)) * _ROWS
    splits = -(-rows // share)
    parts = outputs.real.new_empty(splits, kept, summed, plane, side)
    with torch.cuda.device_of(outputs):
        tap_kernel[-(-kept // together), summed, splits](
            torch.view_as_real(outputs), torch.view_as_real(inputs), columns, phases, parts,
            len(inputs), kept, summed, share, rows, inputs.shape[-1], phases.shape[-1],
            plane, side, together, _ROWS, _COLUMNS, _precision(outputs.device, exact=exact),
            num_warps=_WARPS,
        )  # fmt: skip
    taps = parts.sum(0)[:, :, : kernel_size**2, :kernel_size]
    return taps.unflatten(2, (kernel_size, kernel_size))


def _precision(device: torch.device, *, exact: bool) -> str:
    """How matrices are multiplied: by units for eleven digits, once or in parts, or without."""
    if device.type == "cuda" and _capability(device) < (8, 0):
        return "no units"
    return "units" if exact else "coarse"


@functools.cache
def _capability(device: torch.device) -> tuple[int, int]:
    return torch.cuda.get_device_capability(device)


@functools.lru_cache(maxsize=32)
def _waves(size: Sequence[int], kernel_size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Waves of the last axis, (2, 2, columns, 2 taps), and of the plane, (2, taps, 2, rows).

    The first are [cos | sin] and [-sin | cos], weighted: of a real volume half the frequencies tell
    all. The second are cos and -sin. Both are in two parts, and padded with zeros to what programs
    read.
    """
    first, second, third = (
        _axis(length, period, kernel_size)
        for length, period in zip(size, periods(size, kernel_size), strict=True)
    )
    half, side = len(third) // 2 + 1, max(_FEWEST_TAPS, next_power_of_2(kernel_size))
    weight = third.new_full((half, 1), 2.0)
    weight[0] = 1
    weight[len(third) - half + 1 :] = 1  # Nyquist's frequency, where there is one
    third = third[:half] * weight / (len(first) * len(second) * len(third))
    columns = torch.zeros(2, -(-half // _COLUMNS) * _COLUMNS, 2, side, dtype=torch.float64)
    columns[0, :half, 0, :kernel_size] = columns[1, :half, 1, :kernel_size] = third.real
    columns[0, :half, 1, :kernel_size] = third.imag
    columns[1, :half, 0, :kernel_size] = -third.imag
    plane = torch.einsum("ks,lt->stkl", first, second).flatten(2).flatten(0, 1)
    rows = -(-plane.shape[1] // _ROWS) * _ROWS
    phases = torch.zeros(max(16, next_power_of_2(len(plane))), 2, rows, dtype=torch.float64)
    phases[: len(plane), :, : plane.shape[1]] = torch.stack((plane.real, -plane.imag), dim=1)
    return _in_parts(columns.flatten(2)).to(device), _in_parts(phases).to(device)


def _in_parts(values: Tensor) -> Tensor:
    """The two parts of numbers that `kernels/taps.py` makes of them, float32, (2, ...)."""
    single = values.float()
    coarse = (single.view(torch.int32) & -8192).view(torch.float32)
    return torch.stack((coarse, (values - coarse).float()))


def _axis(length: int, period: int, kernel_size: int) -> Tensor:
    """exp(2 pi i k t / N) of frequencies k and taps t, (N, K); 0 where a tap only meets padding."""
    offsets = torch.arange(kernel_size) - kernel_size // 2
    turns = (torch.outer(torch.arange(period), offsets) % period).double() / period
    waves = torch.polar(torch.ones_like(turns), 2 * math.pi * turns)
    return waves * (offsets.abs() < length)
