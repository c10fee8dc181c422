"""The sums of a volume and its log-likelihood by Triton kernels, on a GPU that can be trusted."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gaborseg.gpu import TwinCheck, label_sums, largest_difference, trusted
from gaborseg.losses.slabs import SlabLogLikelihood, SlabSums, scaled_gradient
from gaborseg.machine import constant_when_traced

_Function = Callable[[Tensor, Tensor], Tensor]

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_ROUNDING = 1e-5
"""Largest difference, over the largest value, that rounding in float32 explains."""


def gpu_sums(logits: Tensor, target: Tensor) -> Tensor:
    """Sums of p, p^2, p y, y and y ln p over space, (5, B, C) in float64, of logits on a GPU."""
    kernel = "sums of scores and labels"
    return _function(kernel, _GpuSums.apply, SlabSums.apply, logits)(logits, target)


def gpu_log_likelihood(logits: Tensor, target: Tensor) -> Tensor:
    """Log-softmax at the target, (B, *S), of logits on a GPU."""
    kernel = "log-likelihood of labels"
    return _function(kernel, _GpuLogLikelihood.apply, SlabLogLikelihood.apply, logits)(
        logits, target
    )


class _GpuSums(torch.autograd.Function):
    """Saves its arguments and nothing else."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor) -> Tensor:
        ctx.save_for_backward(logits, target)
        return label_sums.sums_forward(logits.flatten(2), target.flatten(1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        logits, target = ctx.saved_tensors
        grad = scaled_gradient(grad)
        result = label_sums.sums_backward(grad, logits.flatten(2), target.flatten(1))
        return result.view(logits.shape), None


class _GpuLogLikelihood(torch.autograd.Function):
    """Saves its arguments and nothing else."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor) -> Tensor:
        ctx.save_for_backward(logits, target)
        result = label_sums.likelihood_forward(logits.flatten(2), target.flatten(1))
        return result.view(target.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        logits, target = ctx.saved_tensors
        arguments = grad.flatten(1), logits.flatten(2), target.flatten(1)
        return label_sums.likelihood_backward(*arguments).view(logits.shape), None


def _function(kernel: str, ours: _Function, twin: _Function, logits: Tensor) -> _Function:
    """Return our function where it serves such logits and agrees with its twin, else the twin."""
    labels, dtype = logits.shape[1], logits.dtype
    if labels > label_sums.MOST_LABELS or dtype not in _DTYPES:
        return twin
    return ours if _agree(kernel, ours, twin, labels, dtype, logits.device) else twin


@constant_when_traced
@functools.cache
def _agree(
    kernel: str,
    ours: _Function,
    twin: _Function,
    labels: int,
    dtype: torch.dtype,
    device: torch.device,
) -> bool:
    """Tell whether two functions agree on a device, with so many labels; if not, say so once."""
    difference = functools.partial(_difference, ours, twin, labels, dtype)
    return trusted(TwinCheck(kernel, difference, max(_ROUNDING, torch.finfo(dtype).eps)), device)


def _difference(
    ours: _Function, twin: _Function, labels: int, dtype: torch.dtype, device: torch.device
) -> float:
    """Return the larger of the differences of values and of gradients."""
    draw = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(2, labels, 8, 16, 17, generator=draw)
    target = torch.randint(labels, (2, 8, 16, 17), generator=draw).to(device)
    results = []
    for function in (ours, twin):
        leaf = logits.to(device, dtype, copy=True).requires_grad_()
        value = function(leaf, target)
        gradient = torch.autograd.grad(value.square().sum(), leaf)
        results.append([value.detach(), *gradient])
    return largest_difference(*results)
