"""The sums of a volume and its log-likelihood in pure torch, slab by slab.

A slab is a few slices along the first spatial axis. The backward pass computes the scores again,
slab by slab: beside the logits, the largest tensor that ever exists is their gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

SLAB_VOXELS = 2**14
"""Size of a slab on a CPU: with 20 labels it stays in the cache."""

_SLAB_VOXELS_CUDA = 2**19
"""Size of a slab on a GPU: enough to fill the device."""

_HUGE = 2.0**40
"""Factors of scores beyond which a gradient is scaled; their squares are far from overflow."""
_LARGEST_EXPONENT = 120
"""Of the power of 2 by which it is scaled: float32 holds that and its reciprocal."""


class SlabSums(torch.autograd.Function):
    """Sums of p, p^2, p y, y and y ln p over space, (5, B, C).

    Saves its arguments and the softmax's logarithmic denominator, one number a voxel. The first
    four sums are linear or quadratic in p, so that their gradient is affine in p, label by label.
    The gradient is taken in q = k p, see `scaled_gradient`.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor) -> Tensor:
        sums, log_totals = [], []
        for logits_slab, target_slab in zip(_slabs(logits, 2), _slabs(target, 1), strict=True):
            values, index = _flat(logits_slab), _flat_index(target_slab)
            probs, log_total = _softmax(values)
            log_likelihood = values.gather(1, index) - log_total
            sums.append(_slab_sums(probs, log_likelihood, index))
            log_totals.append(log_total)
        ctx.save_for_backward(logits, target, *log_totals)
        return torch.stack(sums).sum(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_sums: Tensor) -> tuple[Tensor, None]:
        logits, target, *log_totals = ctx.saved_tensors
        scaled = scaled_gradient(grad_sums).to(_working_dtype(logits)).unsqueeze(-1)
        by_p, by_pp, by_py, scale, by_log = scaled.unbind()
        grad = torch.empty_like(logits, memory_format=torch.contiguous_format)
        slabs = zip(_slabs(logits, 2), _slabs(target, 1), log_totals, _slabs(grad, 2), strict=True)
        for logits_slab, target_slab, log_total, grad_slab in slabs:
            probs, index = (_flat(logits_slab) - log_total).exp_(), _flat_index(target_slab)
            large = probs * scale
            own = large.gather(1, index) * by_py.expand_as(probs).gather(1, index)
            own += by_log.expand_as(probs).gather(1, index)
            weighted = torch.addcmul(by_p, large, 2 * by_pp).mul_(large).scatter_add_(1, index, own)
            shared = weighted.sum(1, keepdim=True)
            torch.addcmul(weighted, probs, shared, value=-1, out=grad_slab.flatten(2))
        return grad, None


def scaled_gradient(grad: Tensor) -> Tensor:
    """Scale a gradient of the sums, (5, B, C), so that float32 holds the factors of the scores.

    A label whose scores p are tiny everywhere has a tiny variance, and its correlation a huge
    gradient by p and p^2. With q = k p, where k is a power of 2,

        p (dP + 2 dPP p) = q (dP / k + 2 dPP / k^2 q)

    has factors of ordinary size. The sum of y has no gradient: its place is that of k, which is 1
    for all labels but such ones.
    """
    by_p, by_pp, by_py, _, by_log = grad.unbind()
    largest = torch.stack([by_p.abs(), by_py.abs(), by_pp.abs().sqrt()]).amax(0)
    huge = (largest > _HUGE) & largest.isfinite()
    exponent = torch.frexp(largest.where(huge, 1)).exponent.clamp(max=_LARGEST_EXPONENT)
    scale = torch.ldexp(torch.ones_like(largest), exponent).where(huge, 1)
    return torch.stack([by_p / scale, by_pp / scale / scale, by_py / scale, scale, by_log])


class SlabLogLikelihood(torch.autograd.Function):
    """Log-softmax at the target, (B, *S); saves its arguments and nothing else."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor) -> Tensor:
        ctx.save_for_backward(logits, target)
        slabs = zip(_slabs(logits, 2), _slabs(target, 1), strict=True)
        return torch.cat([_slab_log_likelihood(*slab) for slab in slabs], dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_map: Tensor) -> tuple[Tensor, None]:
        logits, target = ctx.saved_tensors
        grad = torch.empty_like(logits, memory_format=torch.contiguous_format)
        slabs = zip(
            _slabs(logits, 2), _slabs(target, 1), _slabs(grad_map, 1), _slabs(grad, 2), strict=True
        )
        for logits_slab, target_slab, map_slab, grad_slab in slabs:
            own = map_slab.flatten(1).unsqueeze(1)
            probs, _ = _softmax(logits_slab)
            slab = probs.mul_(-own).scatter_add_(1, _flat_index(target_slab), own)
            grad_slab.flatten(2).copy_(slab)
        return grad, None


def _slab_sums(probs: Tensor, log_likelihood: Tensor, index: Tensor) -> Tensor:
    """Sums of a slab, (5, B, C), of scores (B, C, n), log-likelihoods and labels (B, 1, n)."""
    num_classes, wide = probs.shape[1], _sum_dtype(probs)
    own, index = probs.gather(1, index).squeeze(1).to(wide), index.squeeze(1)
    probs = probs.to(wide)
    return torch.stack(
        [
            probs.sum(-1),
            torch.linalg.vector_norm(probs, dim=-1).square(),
            sum_by_label(own, index, num_classes),
            sum_by_label(torch.ones_like(own), index, num_classes),
            sum_by_label(log_likelihood.squeeze(1).to(wide), index, num_classes),
        ]
    )


def _slab_log_likelihood(logits: Tensor, target: Tensor) -> Tensor:
    log_probs = F.log_softmax(_flat(logits), dim=1)
    return log_probs.gather(1, _flat_index(target)).view(target.shape)


def sum_by_label(values: Tensor, index: Tensor, num_classes: int) -> Tensor:
    """Sum (B, n) values over the voxels of each label, (B, C)."""
    if values.is_cuda:  # there, scattered additions end in an order that changes from run to run
        return _masked_sum_by_label(values, index, num_classes)
    return values.new_zeros(len(values), num_classes).scatter_add(1, index, values)


def _masked_sum_by_label(values: Tensor, index: Tensor, num_classes: int) -> Tensor:
    labels = torch.arange(num_classes, device=index.device).unsqueeze(-1)
    return torch.where(index.unsqueeze(1) == labels, values.unsqueeze(1), 0).sum(-1)


def _softmax(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Scores of a slab, (B, C, n), and the logarithm of their denominator, (B, 1, n).

    `torch.softmax` takes as long, but keeps the denominator to itself.
    """
    logits = _flat(logits)
    peak = logits.amax(1, keepdim=True)
    probs = (logits - peak).exp_()
    total = probs.sum(1, keepdim=True)
    return probs.div_(total), total.log().add_(peak)


def _flat(logits: Tensor) -> Tensor:
    """Logits of a slab, (B, C, n), in the dtype in which they are worked with."""
    return logits.flatten(2).to(_working_dtype(logits))


def _flat_index(target: Tensor) -> Tensor:
    """Labels of a slab as gather wants them, (B, 1, n)."""
    return target.flatten(1).unsqueeze(1).long()


def _slabs(volume: Tensor, dim: int) -> Iterator[Tensor]:
    """Views of a volume, cut along its first spatial axis `dim`."""
    voxels = _SLAB_VOXELS_CUDA if volume.is_cuda else SLAB_VOXELS
    slice_voxels = volume.shape[0] * volume.shape[dim + 1 :].numel()
    return iter(volume.split(max(1, voxels // slice_voxels), dim))


def _working_dtype(logits: Tensor) -> torch.dtype:
    return torch.promote_types(logits.dtype, torch.float32)


def _sum_dtype(logits: Tensor) -> torch.dtype:
    """Float64, in which sums over millions of voxels keep the digits that a variance needs."""
    return torch.float32 if logits.device.type == "mps" else torch.float64
