"""Group normalisation in torch's operators: its sums are split over a whole GPU.

torch's own kernel takes one block of threads a group of a sample: with four groups, four blocks.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def group_norm(x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
    """Return each group of channels with mean 0 and variance 1, scaled and shifted.

    The values of ``torch.nn.functional.group_norm``, in the dtype of ``x``, on any device. The
    statistics of a half-precision volume are float32; under autocast ``x`` keeps its precision.

    Args:
        x: (B, C, *S).
        weight: Scale of every channel, (C).
        bias: Shift of every channel, (C).
        groups: Number of groups, a divisor of C.
        eps: Added to the variance.

    Example:
        >>> group_norm(torch.tensor([[[1.0, 3.0]]]), torch.ones(1), torch.zeros(1), 1, 0.0)
        tensor([[[-1.,  1.]]])
    """
    result: Tensor = _GroupNorm.apply(x, weight, bias, groups, eps)
    return result


class _GroupNorm(torch.autograd.Function):
    """Saves x, the weight and the statistics."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float
    ) -> Tensor:
        ctx.groups = groups
        with torch.autocast(x.device.type, enabled=False):
            mean, inverse = _statistics(x, groups, eps)
            scale = _by_channel(inverse, x) * weight
            shift = bias - _by_channel(mean, x) * scale
            ctx.save_for_backward(x, weight, mean, inverse)
            return _in_dtype_of(x, shift, x, scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse = ctx.saved_tensors
        mean, inverse = _by_channel(mean, x), _by_channel(inverse, x)
        by_bias = _sum(grad, inverse.dtype)
        by_weight = (_sum(grad * x, inverse.dtype) - mean * by_bias) * inverse
        scale = inverse * weight
        count = x.shape[1] // ctx.groups * x.shape[2:].numel()
        tilt = -inverse * _over_group(by_weight * weight, ctx.groups) / count * inverse
        shift = -inverse * _over_group(by_bias * weight, ctx.groups) / count - mean * tilt
        grad_x = _in_dtype_of(x, _in_dtype_of(x, shift, x, tilt), grad, scale)
        return grad_x, by_weight.sum(0), by_bias.sum(0), None, None


def _statistics(x: Tensor, groups: int, eps: float) -> tuple[Tensor, Tensor]:
    """Return mean and one over the standard deviation of each group, (B, G), in float32 at least.

    ``torch.var`` with such a result reads half-precision values as they are, without a copy.
    """
    values = x.reshape(len(x), groups, -1)
    wide = torch.promote_types(x.dtype, torch.float32)
    if wide == x.dtype:
        variance, mean = torch.var_mean(values, -1, correction=0)
    else:
        mean = values.mean(-1, dtype=wide)
        variance = torch.var(values, -1, correction=0, out=torch.empty_like(mean))
    return mean, (variance + eps).rsqrt()


def _by_channel(statistic: Tensor, x: Tensor) -> Tensor:
    """(B, G) to (B, C)."""
    width = x.shape[1] // statistic.shape[1]
    return statistic.unsqueeze(-1).expand(-1, -1, width).flatten(1)


def _over_group(by_channel: Tensor, groups: int) -> Tensor:
    """Sums over the channels of a group, at each of them: (B, C) to (B, C)."""
    return _by_channel(by_channel.unflatten(1, (groups, -1)).sum(-1), by_channel)


def _sum(volume: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, C, *S) to (B, C)."""
    return volume.flatten(2).sum(-1, dtype=dtype)


def _in_dtype_of(x: Tensor, shift: Tensor, volume: Tensor, scale: Tensor) -> Tensor:
    """Return shift + volume * scale, without a copy of a half-precision volume in float32."""
    shape = (..., *[None] * (x.dim() - 2))
    shift = shift[shape] if shift.dim() == 2 else shift
    return torch.addcmul(shift, volume, scale[shape], out=torch.empty_like(x))
