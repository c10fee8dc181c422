"""Gabor kernels of eq. (2) through separable factors, and their gradient; see `gabor.py`."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gaborseg.layers.grid import SMALLEST_SIGMA, voxel_offsets, without_autocast

PAIRS_AT_ONCE = 2**13
"""Pairs of channels in a block of the backward pass: few enough for the cache, and for memory."""


class SeparableKernel(torch.autograd.Function):
    """Kernels (O, I, K, K, K) of parameters (8, I, O); the backward pass keeps only the latter."""

    @staticmethod
    def forward(parameters: Tensor, kernel_size: int) -> Tensor:
        with without_autocast(parameters):
            return _synthesise(parameters, kernel_size)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (parameters,) = ctx.saved_tensors
        outputs = max(1, PAIRS_AT_ONCE // parameters.shape[1])
        blocks = zip(parameters.split(outputs, dim=2), grad.split(outputs), strict=True)
        with without_autocast(parameters):
            return torch.cat([_gradient(*block) for block in blocks], dim=2), None


class _Pairs(NamedTuple):
    """Parameters of all pairs; the last axis, where it is not 1, tells the two terms of eq. (2)."""

    sigma: Tensor  # (O, I, 1)
    row: Tensor  # (3, O, I, 1), first row of the rotation
    row_by_theta_y: Tensor  # (3, O, I, 1), its derivatives
    row_by_theta_z: Tensor  # (3, O, I, 1)
    amplitude: Tensor  # (O, I, 2)
    frequency: Tensor  # (O, I, 2)
    phase: Tensor  # (O, I, 2): the sine is a cosine a quarter turn late


def _unpack(parameters: Tensor) -> _Pairs:
    """Wide parameters: the angle of several turns would lose too many digits in float32."""
    wide = torch.float32 if parameters.is_mps else torch.float64  # MPS has no float64
    pairs = parameters.to(wide).permute(2, 1, 0)
    theta_y, theta_z, phase = pairs[..., 1:2], pairs[..., 2:3], pairs[..., 7:]
    (cos_y, sin_y), (cos_z, sin_z) = ((theta.cos(), theta.sin()) for theta in (theta_y, theta_z))
    return _Pairs(
        sigma=pairs[..., :1],
        row=torch.stack((cos_y * cos_z, -cos_y * sin_z, sin_y)),
        row_by_theta_y=torch.stack((-sin_y * cos_z, sin_y * sin_z, cos_y)),
        row_by_theta_z=torch.stack((-cos_y * sin_z, -cos_y * cos_z, torch.zeros_like(sin_y))),
        amplitude=pairs[..., 3:5],
        frequency=pairs[..., 5:7],
        phase=torch.cat((phase, phase - math.pi / 2), dim=-1),
    )


def _width(sigma: Tensor) -> Tensor:
    return sigma.abs().clamp(min=SMALLEST_SIGMA)


def _factors(pairs: _Pairs, offsets: Tensor, dtype: torch.dtype) -> Tensor:
    """Complex factors of the axes, (3, O, I, 2, K); the first carries the phase.

    Offsets are whole voxels, so whole cycles per voxel change nothing, nor do whole turns: without
    them the angles are finite for any frequency, and `dtype` is precise enough from here on.
    """
    cycles = pairs.frequency * pairs.row
    turns = (cycles - cycles.round())[..., None] * offsets
    turns[0] += pairs.phase[..., None] / (2 * math.pi)
    angle = 2 * math.pi * (turns - turns.round()).to(dtype)
    envelope = torch.exp(-(offsets / _width(pairs.sigma)[..., None]).square() / 2).to(dtype)
    return torch.complex(envelope * angle.cos(), envelope * angle.sin())


def _outer(y: Tensor, z: Tensor) -> Tensor:
    """Product of two factors over the plane of their axes, (..., K) -> (..., K K)."""
    return (y[..., :, None] * z[..., None, :]).flatten(-2)


def _rows(factor: Tensor) -> Tensor:
    """Both terms' real parts, then their imaginary parts: complex (..., 2, N) -> (..., 4, N)."""
    return torch.cat((factor.real, factor.imag), dim=-2)


def _pair_up(rows: Tensor) -> Tensor:
    """Inverse of `_rows`."""
    return torch.complex(*rows.chunk(2, dim=-2))


def _synthesise(parameters: Tensor, kernel_size: int) -> Tensor:
    """Kernels as the sum over the two terms of Re(amplitude * x y z), x, y, z their factors."""
    pairs = _unpack(parameters)
    offsets = voxel_offsets(kernel_size, like=pairs.sigma)
    dtype = torch.promote_types(parameters.dtype, torch.float32)
    x, y, z = _factors(pairs, offsets, dtype)
    x *= pairs.amplitude[..., None].to(dtype)
    kernel = _rows(x.conj()).mT @ _rows(_outer(y, z))
    return kernel.unflatten(-1, (kernel_size, kernel_size))


def _gradient(parameters: Tensor, grad: Tensor) -> Tensor:
    """Gradient by the parameters, (8, I, O), from the gradient by the kernels."""
    pairs = _unpack(parameters)
    offsets = voxel_offsets(grad.shape[-1], like=pairs.sigma)
    one, first, square = _moments(_factors(pairs, offsets, grad.dtype), grad)
    amplitude, width = pairs.amplitude, _width(pairs.sigma)
    by_cycles = -2 * math.pi * amplitude * first.imag
    by_row = (by_cycles * pairs.frequency).sum(dim=-1, keepdim=True)
    by_sigma = (amplitude * square.real).sum(dim=-1, keepdim=True) / width**3 * pairs.sigma.sign()
    gradients = (
        by_sigma,
        (by_row * pairs.row_by_theta_y).sum(dim=0),
        (by_row * pairs.row_by_theta_z).sum(dim=0),
        one.real,
        (by_cycles * pairs.row).sum(dim=0),
        -(amplitude * one.imag).sum(dim=-1, keepdim=True),
    )
    return torch.cat(gradients, dim=-1).permute(2, 1, 0).to(parameters.dtype)


def _moments(factors: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sums over a kernel of grad * x y z times 1, the three offsets, and their squared length.

    Args:
        factors: x, y, z, (3, O, I, 2, K).
        grad: (O, I, K, K, K).

    Returns:
        Complex (O, I, 2), (3, O, I, 2) and (O, I, 2).
    """
    x, y, z = factors
    plane, grad = _outer(y, z), grad.flatten(-2)
    over_plane = _pair_up(_rows(x) @ grad) * plane
    over_x = _pair_up((grad @ _rows(plane).mT).mT) * x
    offsets = voxel_offsets(x.shape[-1], like=grad)
    first, second = torch.meshgrid(offsets, offsets, indexing="ij")
    weights = torch.stack((torch.ones_like(first), first, second, first**2 + second**2), dim=-1)
    one, by_y, by_z, by_yz = (over_plane @ weights.flatten(0, 1).to(x.dtype)).unbind(-1)
    weights = torch.stack((offsets, offsets**2), dim=-1)
    by_x, by_xx = (over_x @ weights.to(x.dtype)).unbind(-1)
    return one, torch.stack((by_x, by_y, by_z)), by_xx + by_yz
