"""2x2x2 max pooling whose gradient is deterministic: torch's adds it up by atomics on a GPU.

The forward pass notes in a byte a window which of its voxels was the largest, the first of several,
counted along the last axis first. The backward pass writes every voxel's gradient once.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from gaborseg.gpu.kernel import jit, next_power_of_2
from gaborseg.gpu.trust import TwinCheck, trusted

with suppress(ImportError):  # torch for CPUs comes without Triton
    import triton.language as tl

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
        x, ctx.shape = x.contiguous(), x.shape
        result = x.new_empty(_halved(x.shape))
        largest = torch.empty_like(result, dtype=torch.uint8)
        _launch(_forward_kernel, x, result, largest)
        ctx.save_for_backward(largest)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (largest,) = ctx.saved_tensors
        x_grad = _gradient_for(ctx.shape, grad)
        _launch(_backward_kernel, x_grad, grad.contiguous(), largest)
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


@jit(any_value=("lines", "depth", "height"))
def _forward_kernel(
    volume: tl.tensor,
    pooled: tl.tensor,
    largest: tl.tensor,
    lines: int,
    depth: int,
    height: int,
    width: int,
    used: int,
    rows: tl.constexpr,
    columns: tl.constexpr,
) -> None:
    """Write the maximum of each window of a tile, and which voxel it was: 4 z + 2 y + x."""
    at, inside = _voxels(volume, lines, depth, height, width, used, rows, columns)
    window, there = _windows_of(lines, used, rows, columns)
    plane = tl.cast(height, tl.int64) * width
    value = tl.load(at, mask=inside, other=0).to(tl.float32)
    which = tl.zeros([rows, columns], tl.int32)
    value, which = _larger(value, which, at + width, inside, 2)
    value, which = _larger(value, which, at + plane, inside, 4)
    value, which = _larger(value, which, at + plane + width, inside, 6)
    left, right = tl.split(tl.reshape(value, [rows, columns // 2, 2]))
    left_which, right_which = tl.split(tl.reshape(which, [rows, columns // 2, 2]))
    right_which += 1
    sooner = (right == left) & (right_which < left_which)
    better = (right > left) | (right != right) | sooner
    result = tl.where(better, right, left).to(pooled.dtype.element_ty)
    tl.store(pooled + window, result, mask=there)
    tl.store(largest + window, tl.where(better, right_which, left_which).to(tl.uint8), mask=there)


@jit()
def _larger(
    value: tl.tensor, which: tl.tensor, at: tl.tensor, inside: tl.tensor, code: tl.constexpr
) -> tl.tuple:
    """Return the larger values and which they are; not a number counts as larger."""
    other = tl.load(at, mask=inside, other=0).to(tl.float32)
    better = (other > value) | (other != other)
    return tl.where(better, other, value), tl.where(better, code, which)


@jit()
def _voxels(
    volume: tl.tensor,
    lines: int,
    depth: int,
    height: int,
    width: int,
    used: int,
    rows: tl.constexpr,
    columns: tl.constexpr,
) -> tl.tuple:
    """Return pointers to the first line of each window of a tile, and which of them exist.

    `used` voxels of a line belong to windows.
    """
    line = tl.program_id(0) * rows + tl.arange(0, rows)[:, None]
    x = tl.program_id(1) * columns + tl.arange(0, columns)[None, :]
    slab = line // (height // 2)
    y = line % (height // 2) * 2
    z = (slab // (depth // 2)).to(tl.int64) * depth + slab % (depth // 2) * 2
    return volume + (z * height + y) * width + x, (line < lines) & (x < used)


@jit()
def _windows_of(lines: int, used: int, rows: tl.constexpr, columns: tl.constexpr) -> tl.tuple:
    """Return where the windows of a tile are among all, and which of them exist."""
    line = tl.program_id(0) * rows + tl.arange(0, rows)[:, None]
    x = tl.program_id(1) * (columns // 2) + tl.arange(0, columns // 2)[None, :]
    return line.to(tl.int64) * (used // 2) + x, (line < lines) & (x < used // 2)


@jit(any_value=("lines", "depth", "height"))
def _backward_kernel(
    volume: tl.tensor,
    pooled: tl.tensor,
    largest: tl.tensor,
    lines: int,
    depth: int,
    height: int,
    width: int,
    used: int,
    rows: tl.constexpr,
    columns: tl.constexpr,
) -> None:
    """Write the gradient by every voxel of a tile of windows, from that by their maxima."""
    at, inside = _voxels(volume, lines, depth, height, width, used, rows, columns)
    window, there = _windows_of(lines, used, rows, columns)
    plane = tl.cast(height, tl.int64) * width
    grad = tl.load(pooled + window, mask=there, other=0)
    which = tl.load(largest + window, mask=there, other=0)
    _store_gradient(at, inside, grad, which, 0)
    _store_gradient(at + width, inside, grad, which, 2)
    _store_gradient(at + plane, inside, grad, which, 4)
    _store_gradient(at + plane + width, inside, grad, which, 6)


@jit()
def _store_gradient(
    at: tl.tensor, inside: tl.tensor, grad: tl.tensor, which: tl.tensor, code: tl.constexpr
) -> None:
    """Write the gradients by the two voxels of a line of each window."""
    zero = tl.zeros_like(grad)
    left = tl.where(which == code, grad, zero)
    right = tl.where(which == code + 1, grad, zero)
    tl.store(at, tl.reshape(tl.join(left, right), at.shape), mask=inside)


def _difference(device: torch.device) -> float:
    """Return the largest difference between the kernels and torch's operators."""
    draw = torch.Generator().manual_seed(0)
    difference = 0.0
    for dtype in _DTYPES:
        x = torch.randint(9, (2, 3, 10, 7, 32), generator=draw).to(device, dtype)
        grad = torch.randn(2, 3, 5, 3, 16, generator=draw).to(device, dtype)
        with torch.inference_mode(mode=False), torch.enable_grad():
            leaf = x.clone().requires_grad_()
            results = [function(leaf) for function in (fused_max_pool, plain_max_pool)]
            grads = [torch.autograd.grad(result, leaf, grad)[0] for result in results]
        for ours, twin in (results, grads):
            difference = max(difference, (ours - twin).abs().max().item())
    return difference


_CHECK = TwinCheck("max pooling", _difference, bound=0)
