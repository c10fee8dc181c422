"""Triton kernels of `normalisation.py`, forward: normalise, activate, add two such volumes.

Volumes are (B, C, *S), contiguous. A program takes a chunk of one channel of one sample, a row, and
walks along it block by block. Each way takes two passes. The first one writes sums of every chunk,
in the second one every program adds up those of its group: the order of all sums is fixed, and no
number waits for another program.

`pair` tells whether there are two volumes, each with a normalisation of its own, whose activations
are added. `exponential` tells the activation of y <= 0: slope * (e^y - 1), or slope * y.
"""

from __future__ import annotations

from gaborseg.gpu.kernels.jit import jit, triton

if triton is not None:
    import triton.language as tl

    PARTIALS = tl.constexpr(128)
    """Sums of chunks that are read at once."""


@jit(any_value=("chunks",))
def moments_kernel(
    first: tl.tensor,
    second: tl.tensor,
    moments: tl.tensor,
    voxels: int,
    chunk: int,
    chunks: int,
    pair: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """Write mean and sum of squared deviations of a chunk, float64: (V, B C, chunks, 2)."""
    program = tl.program_id(0).to(tl.int64)
    row, start = program // chunks, (program % chunks).to(tl.int32) * chunk
    into = moments + 2 * program
    _write_moments(first + row * voxels, into, start, voxels, chunk, block)
    if pair:
        into += 2 * tl.num_programs(0).to(tl.int64)
        _write_moments(second + row * voxels, into, start, voxels, chunk, block)


@jit()
def _write_moments(
    row: tl.tensor,
    into: tl.tensor,
    start: tl.tensor,
    voxels: int,
    chunk: int,
    block: tl.constexpr,
) -> None:
    """Write the moments of a chunk of a row, from sums about the mean of its first block."""
    lane = start + tl.arange(0, block)
    head = tl.load(row + lane, mask=lane < voxels, other=0).to(tl.float32)
    about = tl.sum(head, axis=0) / tl.minimum(voxels - start, block)
    total = tl.zeros([block], tl.float32)
    squares = tl.zeros([block], tl.float32)
    for step in range(0, chunk, block):
        at = lane + step
        value = tl.load(row + at, mask=at < voxels, other=0).to(tl.float32)
        away = tl.where(at < voxels, value - about, 0)
        total += away
        squares += away * away
    count = tl.minimum(voxels - start, chunk).to(tl.float64)
    sum_away = tl.sum(total, axis=0).to(tl.float64)
    deviations = tl.sum(squares, axis=0).to(tl.float64) - sum_away * sum_away / count
    tl.store(into, about.to(tl.float64) + sum_away / count)
    tl.store(into + 1, tl.where(deviations < 0, 0, deviations))


@jit(any_value=("chunks", "channels", "width"))
def forward_kernel(
    first: tl.tensor,
    second: tl.tensor,
    result: tl.tensor,
    moments: tl.tensor,
    statistics: tl.tensor,
    first_weight: tl.tensor,
    first_bias: tl.tensor,
    second_weight: tl.tensor,
    second_bias: tl.tensor,
    first_eps: float,
    second_eps: float,
    slope: float,
    voxels: int,
    chunk: int,
    chunks: int,
    channels: int,
    width: int,
    exponential: tl.constexpr,
    pair: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """Write the activation of the normalised volume, or the sum of two, and the statistics.

    Statistics are mean, inverse and offset of each group, (V, B G, 3): x is normalised by
    (x - mean) * inverse + offset. A group has `width` channels.
    """
    program = tl.program_id(0).to(tl.int64)
    row, start = program // chunks, (program % chunks).to(tl.int32) * chunk
    rows, channel, group = tl.num_programs(0).to(tl.int64) // chunks, row % channels, row // width
    is_first = (row % width == 0) & (start == 0)
    partials = moments + 2 * group * width * chunks
    into = statistics + 3 * group
    mean, inverse, offset = _group_statistics(partials, width, voxels, chunk, chunks, first_eps)
    _store_statistics(into, is_first, mean, inverse, offset)
    weight = tl.load(first_weight + channel).to(tl.float32)
    scale, shift = inverse * weight, tl.load(first_bias + channel).to(tl.float32) + offset * weight
    mean_2, scale_2, shift_2 = mean, scale, shift
    if pair:
        partials += 2 * rows * chunks
        mean_2, inverse, offset = _group_statistics(
            partials, width, voxels, chunk, chunks, second_eps
        )
        _store_statistics(into + 3 * (rows // width), is_first, mean_2, inverse, offset)
        weight = tl.load(second_weight + channel).to(tl.float32)
        scale_2 = inverse * weight
        shift_2 = tl.load(second_bias + channel).to(tl.float32) + offset * weight
    precise: tl.constexpr = result.dtype.element_ty == tl.float32
    lane = start + tl.arange(0, block)
    first, second, result = first + row * voxels, second + row * voxels, result + row * voxels
    for step in range(0, chunk, block):
        at = lane + (chunk - block - step)  # what the first pass read last may still be cached
        inside = at < voxels
        value = tl.load(first + at, mask=inside, other=0).to(tl.float32)
        y = _activated((value - mean) * scale + shift, slope, exponential, precise)
        if pair:
            value = tl.load(second + at, mask=inside, other=0).to(tl.float32)
            y_2 = (value - mean_2) * scale_2 + shift_2
            y += _activated(y_2, slope, exponential, precise)
        tl.store(result + at, y.to(result.dtype.element_ty), mask=inside)


@jit()
def _group_statistics(
    partials: tl.tensor, width: int, voxels: int, chunk: int, chunks: int, eps: float
) -> tl.tuple:
    """Return a group's mean, its inverse deviation, and the offset that makes up for rounding."""
    about = tl.load(partials)
    total = tl.zeros([PARTIALS], tl.float64)
    squares = tl.zeros([PARTIALS], tl.float64)
    for step in range(0, width * chunks, PARTIALS):
        index = step + tl.arange(0, PARTIALS)
        inside = index < width * chunks
        size = tl.minimum(voxels - index % chunks * chunk, chunk)
        count = tl.where(inside, size, 0).to(tl.float64)
        away = tl.load(partials + 2 * index, mask=inside, other=0) - about
        total += count * away
        squares += count * away * away + tl.load(partials + 2 * index + 1, mask=inside, other=0)
    count = tl.cast(width, tl.float64) * voxels
    sum_away = tl.sum(total, axis=0) / count
    variance = tl.sum(squares, axis=0) / count - sum_away * sum_away
    variance = tl.where(variance < 0, 0, variance)
    mean = about + sum_away
    high = mean.to(tl.float32)
    inverse = 1 / tl.sqrt(variance + eps)
    return high, inverse.to(tl.float32), ((high - mean) * inverse).to(tl.float32)


@jit()
def _store_statistics(
    into: tl.tensor, there: tl.tensor, mean: tl.tensor, inverse: tl.tensor, offset: tl.tensor
) -> None:
    tl.store(into, mean, mask=there)
    tl.store(into + 1, inverse, mask=there)
    tl.store(into + 2, offset, mask=there)


@jit()
def _activated(
    y: tl.tensor, slope: float, exponential: tl.constexpr, precise: tl.constexpr
) -> tl.tensor:
    """Return the activation; not a number stays so."""
    if exponential:
        low = tl.exp(y) - 1
        if precise:
            series = y * (1 + y * (1 / 2 + y * (1 / 6 + y * (1 / 24 + y * (1 / 120)))))
            low = tl.where(y > -0.125, series, low)
        low = slope * low
    else:
        low = slope * y
    return tl.where(y > 0, y, low)
