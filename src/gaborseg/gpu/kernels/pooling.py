"""Triton kernels of `pooling.py`: a program takes some lines of windows, or a part of one."""

from __future__ import annotations

from gaborseg.gpu.kernels.jit import jit, triton

if triton is not None:
    import triton.language as tl


@jit(any_value=("lines", "depth", "height"))
def forward_kernel(
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
def backward_kernel(
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
