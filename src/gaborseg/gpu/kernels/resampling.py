"""Triton kernel of `resampling.py`: a patch of a moved image and of its label map."""

from __future__ import annotations

from gaborseg.gpu.kernels.jit import jit, triton

if triton is not None:
    import triton.language as tl


_NUMBERS = ("zz", "zy", "zx", "z1", "yz", "yy", "yx", "y1", "xz", "xy", "xx", "x1")
_SIZES = ("channels", "depth", "height", "width", "start_z", "start_y", "start_x")


@jit(any_value=(*_SIZES, "rows", "columns", "voxels", *_NUMBERS))
def resampling_kernel(
    image: tl.tensor,
    label: tl.tensor,
    fill: tl.tensor,
    moved: tl.tensor,
    moved_label: tl.tensor,
    channels: int,
    depth: int,
    height: int,
    width: int,
    start_z: int,
    start_y: int,
    start_x: int,
    rows: int,
    columns: int,
    voxels: int,
    zz: tl.int64,
    zy: tl.int64,
    zx: tl.int64,
    z1: tl.int64,
    yz: tl.int64,
    yy: tl.int64,
    yx: tl.int64,
    y1: tl.int64,
    xz: tl.int64,
    xy: tl.int64,
    xx: tl.int64,
    x1: tl.int64,
    block: tl.constexpr,
) -> None:
    """Write some voxels: places in float64, weights and sums of the image in float32.

    `zz` to `x1` are the bits of the matrix, row by row: Triton takes no numbers of float64.
    """
    voxel = tl.program_id(0) * block + tl.arange(0, block)
    there = voxel < voxels
    line = voxel // columns
    at_z = (line // rows + start_z).to(tl.float64)
    at_y = (line % rows + start_y).to(tl.float64)
    at_x = (voxel % columns + start_x).to(tl.float64)
    z = at_z * _number(zz) + (at_y * _number(zy) + (at_x * _number(zx) + _number(z1)))
    y = at_z * _number(yz) + (at_y * _number(yy) + (at_x * _number(yx) + _number(y1)))
    x = at_z * _number(xz) + (at_y * _number(xy) + (at_x * _number(xx) + _number(x1)))
    inside = there & _within(z, depth) & _within(y, height) & _within(x, width)
    nearest = (_nearest(z, depth) * height + _nearest(y, height)) * width + _nearest(x, width)
    tl.store(moved_label + voxel, tl.load(label + nearest, mask=inside, other=0), mask=there)
    z0, z1, weight_z = _neighbours(z, depth)
    y0, y1, weight_y = _neighbours(y, height)
    x0, x1, weight_x = _neighbours(x, width)
    row_00, row_01 = (z0 * height + y0) * width, (z0 * height + y1) * width
    row_10, row_11 = (z1 * height + y0) * width, (z1 * height + y1) * width
    volume = tl.cast(depth, tl.int64) * height * width
    moved += voxel
    for channel in range(channels):
        near = _between(
            _line(image + row_00, x0, x1, weight_x, inside),
            _line(image + row_01, x0, x1, weight_x, inside),
            weight_y,
        )
        far = _between(
            _line(image + row_10, x0, x1, weight_x, inside),
            _line(image + row_11, x0, x1, weight_x, inside),
            weight_y,
        )
        value = tl.where(inside, _between(near, far, weight_z), tl.load(fill + channel))
        tl.store(moved, value.to(moved.dtype.element_ty), mask=there)
        image += volume
        moved += voxels


@jit()
def _number(bits: tl.tensor) -> tl.tensor:
    return tl.cast(bits, tl.int64).to(tl.float64, bitcast=True)


@jit()
def _within(place: tl.tensor, side: int) -> tl.tensor:
    return (place >= -0.5) & (place < side - 0.5)


@jit()
def _nearest(place: tl.tensor, side: int) -> tl.tensor:
    """Return the voxel of each place, the upper one of two that are equally near."""
    voxel = tl.floor(place + 0.5).to(tl.int32)
    return tl.minimum(tl.maximum(voxel, 0), side - 1)


@jit()
def _neighbours(place: tl.tensor, side: int) -> tl.tuple:
    """Return the voxels on both sides of each place, and the weight of the upper one."""
    low = tl.maximum(place, 0.0)
    lower = tl.minimum(tl.floor(low).to(tl.int32), side - 1)
    upper = tl.minimum(lower + 1, side - 1)
    return lower, upper, (low - lower).to(tl.float32)


@jit()
def _line(
    row: tl.tensor, lower: tl.tensor, upper: tl.tensor, weight: tl.tensor, inside: tl.tensor
) -> tl.tensor:
    """Return the values between two voxels of a row."""
    a = tl.load(row + lower, mask=inside, other=0).to(tl.float32)
    b = tl.load(row + upper, mask=inside, other=0).to(tl.float32)
    return _between(a, b, weight)


@jit()
def _between(a: tl.tensor, b: tl.tensor, weight: tl.tensor) -> tl.tensor:
    return a + weight * (b - a)
