"""2x2x2 max pooling whose gradient is deterministic: torch's adds it up by atomics on a GPU.

The forward pass notes in a byte a window which of its voxels was the largest, the first of several,
counted along the last axis first. The backward pass writes every voxel's gradient once.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from gaborseg.gpu.sizes import next_power_of_2
from gaborseg.gpu.trust import TwinCheck, largest_difference, trusted

_VOXELS = 1024
"""Of the first lines of the windows of a program: a power of 2."""
_WARPS = 4
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def max_pool(x: Tensor) -> Tensor:
    """Return the maximum of every window of 2x2x2 voxels: (B, C, D, H, W) to half of each side.

    Of an odd side the last voxel is left out. A window that has a NaN gives NaN.

    Args:
        x: At least two voxels along each spatial axis.

    Example:
        >>> max_pool(torch.arange(8.0).view(1, 1, 2, 2, 2)).item()
        7.0
    """
    if not x.is_cuda or torch.compiler.is_compiling() or min(x.shape[2:]) < 2:
        return F.max_pool3d(x, 2)
    if x.dtype in _DTYPES and trusted(_CHECK, x.device):
        return fused_max_pool(x)
    return plain_max_pool(x)


def fused_max_pool(x: Tensor) -> Tensor:
    """Return the maxima by the Triton kernels."""
    result: Tensor = _FusedMaxPool.apply(x)
    return result


def plain_max_pool(x: Tensor) -> Tensor:
    """Return the maxima by torch's operators, on any device."""
    result: Tensor = _PlainMaxPool.apply(x)
    return result


class _FusedMaxPool(torch.autograd.Function):
    """Saves a byte a window."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        from gaborseg.gpu.kernels import pooling as kernels  # slow to import

        x, ctx.shape = x.contiguous(), x.shape
        result = x.new_empty(_halved(x.shape))
        largest = torch.empty_like(result, dtype=torch.uint8)
        _launch(kernels.forward_kernel, x, result, largest)
        ctx.save_for_backward(largest)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        from gaborseg.gpu.kernels import pooling as kernels

        (largest,) = ctx.saved_tensors
        x_grad = _gradient_for(ctx.shape, grad)
        _launch(kernels.backward_kernel, x_grad, grad.contiguous(), largest)
        return x_grad


class _PlainMaxPool(torch.autograd.Function):
    """Saves a byte a window."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape = x.shape
        result, largest = _windows(x).flatten(5).max(-1)
        ctx.save_for_backward(largest.to(torch.uint8))
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (largest,) = ctx.saved_tensors
        voxels = torch.arange(8, dtype=torch.uint8, device=grad.device).view(2, 2, 2)
        x_grad = _gradient_for(ctx.shape, grad)
        here = largest[..., None, None, None] == voxels
        _windows(x_grad).copy_(torch.where(here, grad[..., None, None, None], 0))
        return x_grad


def _halved(shape: torch.Size) -> list[int]:
    return [*shape[:2], *(side // 2 for side in shape[2:])]


def _gradient_for(shape: torch.Size, grad: Tensor) -> Tensor:
    """A tensor for the gradient, 0 already where no window reaches."""
    odd = any(side % 2 for side in shape[2:])
    return grad.new_zeros(shape) if odd else grad.new_empty(shape)


def _windows(x: Tensor) -> Tensor:
    """A view of all windows: (B, C, D, H, W) to (B, C, D/2, H/2, W/2, 2, 2, 2)."""
    for axis in (2, 3, 4):
        x = x.unfold(axis, 2, 2)
    return x


def _launch(kernel: Any, volume: Tensor, pooled: Tensor, largest: Tensor) -> None:
    """Run a kernel over all lines of windows of a volume (B, C, D, H, W)."""
    depth, height, width = volume.shape[2:]
    used = width // 2 * 2
    columns = min(_VOXELS, max(2, next_power_of_2(used)))
    rows = _VOXELS // columns
    lines = largest.shape[:4].numel()
    if lines:
        grid = (-(-lines // rows), -(-used // columns))
        with torch.cuda.device_of(volume):
            kernel[grid](
                volume,
                pooled,
                largest,
                lines,
                depth,
                height,
                width,
                used,
                rows=rows,
                columns=columns,
                num_warps=_WARPS,
            )


def _difference(device: torch.device) -> float:
    """Return the largest difference between the kernels and torch's operators."""
    draw = torch.Generator().manual_seed(0)
    ours: list[Tensor] = []
    twins: list[Tensor] = []
    for dtype in _DTYPES:
        x = torch.randint(9, (2, 3, 10, 7, 32), generator=draw).to(device, dtype).requires_grad_()
        grad = torch.randn(2, 3, 5, 3, 16, generator=draw).to(device, dtype)
        for results, pool in ((ours, fused_max_pool), (twins, plain_max_pool)):
            pooled = pool(x)
            results += [pooled.detach(), *torch.autograd.grad(pooled, x, grad)]
    return largest_difference(ours, twins)


_CHECK = TwinCheck("max pooling", _difference, bound=0)
