"""Triton kernels of the backward pass of `normalisation_forward.py`, laid out as described there.

The normalised values, y and the activation's derivative are computed again from the volumes.
"""

from __future__ import annotations

from gaborseg.gpu.kernels.jit import jit, triton

if triton is not None:
    import triton.language as tl

    from gaborseg.gpu.kernels.normalisation_forward import PARTIALS


@jit()
def _with_derivative(
    grad: tl.tensor, y: tl.tensor, slope: float, exponential: tl.constexpr
) -> tl.tensor:
    """Return the gradient by the activation times its derivative."""
    low = slope * tl.exp(y) if exponential else slope + 0 * y
    return tl.where(y > 0, grad, grad * low)


@jit(any_value=("chunks", "channels", "width"))
def sums_kernel(
    grad: tl.tensor,
    first: tl.tensor,
    second: tl.tensor,
    sums: tl.tensor,
    statistics: tl.tensor,
    first_weight: tl.tensor,
    first_bias: tl.tensor,
    second_weight: tl.tensor,
    second_bias: tl.tensor,
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
    """Write a chunk's sums of the gradient by y, and of that times the normalised values.

    In float32, (V, B C, chunks, 2).
    """
    program = tl.program_id(0).to(tl.int64)
    row, start = program // chunks, (program % chunks).to(tl.int32) * chunk
    rows, channel, group = tl.num_programs(0).to(tl.int64) // chunks, row % channels, row // width
    at = statistics + 3 * group
    mean, inverse, offset, weight, bias = _affine(at, first_weight, first_bias, channel)
    mean_2, inverse_2, offset_2, weight_2, bias_2 = mean, inverse, offset, weight, bias
    if pair:
        at += 3 * (rows // width)
        mean_2, inverse_2, offset_2, weight_2, bias_2 = _affine(
            at, second_weight, second_bias, channel
        )
    by_bias = tl.zeros([block], tl.float32)
    by_weight, by_bias_2, by_weight_2 = by_bias, by_bias, by_bias
    lane = start + tl.arange(0, block)
    grad, first, second = grad + row * voxels, first + row * voxels, second + row * voxels
    for step in range(0, chunk, block):
        index = lane + step
        inside = index < voxels
        slopes = tl.load(grad + index, mask=inside, other=0).to(tl.float32)
        value = tl.load(first + index, mask=inside, other=0).to(tl.float32)
        normal = (value - mean) * inverse + offset
        by_y = _with_derivative(slopes, normal * weight + bias, slope, exponential)
        by_bias += by_y
        by_weight += by_y * normal
        if pair:
            value = tl.load(second + index, mask=inside, other=0).to(tl.float32)
            normal = (value - mean_2) * inverse_2 + offset_2
            by_y = _with_derivative(slopes, normal * weight_2 + bias_2, slope, exponential)
            by_bias_2 += by_y
            by_weight_2 += by_y * normal
    into = sums + 2 * program
    tl.store(into, tl.sum(by_bias, axis=0))
    tl.store(into + 1, tl.sum(by_weight, axis=0))
    if pair:
        into += 2 * tl.num_programs(0).to(tl.int64)
        tl.store(into, tl.sum(by_bias_2, axis=0))
        tl.store(into + 1, tl.sum(by_weight_2, axis=0))


@jit()
def _affine(
    statistics: tl.tensor, weight: tl.tensor, bias: tl.tensor, channel: tl.tensor
) -> tl.tuple:
    """Return the statistics of a group, then weight and bias of a channel."""
    return (
        tl.load(statistics),
        tl.load(statistics + 1),
        tl.load(statistics + 2),
        tl.load(weight + channel).to(tl.float32),
        tl.load(bias + channel).to(tl.float32),
    )


@jit(any_value=("chunks", "channels", "width", "samples"))
def backward_kernel(
    grad: tl.tensor,
    first: tl.tensor,
    second: tl.tensor,
    first_grad: tl.tensor,
    second_grad: tl.tensor,
    sums: tl.tensor,
    statistics: tl.tensor,
    first_weight: tl.tensor,
    first_bias: tl.tensor,
    second_weight: tl.tensor,
    second_bias: tl.tensor,
    parameter_grads: tl.tensor,
    slope: float,
    voxels: int,
    chunk: int,
    chunks: int,
    channels: int,
    width: int,
    samples: int,
    exponential: tl.constexpr,
    pair: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """Write the gradients by the volumes, and by bias and weight: (V, 2, C), float32."""
    program = tl.program_id(0).to(tl.int64)
    row, start = program // chunks, (program % chunks).to(tl.int32) * chunk
    rows, channel, group = tl.num_programs(0).to(tl.int64) // chunks, row % channels, row // width
    at, into = statistics + 3 * group, parameter_grads + channel
    is_first = (row < channels) & (start == 0)
    mean, inverse, offset, weight, bias = _affine(at, first_weight, first_bias, channel)
    shift, tilt = _group_means(sums, first_weight, group, width, voxels, chunks, channels)
    scale, shift, tilt = weight * inverse, shift * inverse, tilt * inverse
    if is_first:
        _store_parameter_grads(into, sums, row, channels, chunks, samples)
    mean_2, inverse_2, offset_2, weight_2, bias_2 = mean, inverse, offset, weight, bias
    scale_2, shift_2, tilt_2 = scale, shift, tilt
    if pair:
        at += 3 * (rows // width)
        sums += 2 * rows * chunks
        mean_2, inverse_2, offset_2, weight_2, bias_2 = _affine(
            at, second_weight, second_bias, channel
        )
        shift_2, tilt_2 = _group_means(sums, second_weight, group, width, voxels, chunks, channels)
        scale_2, shift_2, tilt_2 = weight_2 * inverse_2, shift_2 * inverse_2, tilt_2 * inverse_2
        if is_first:
            _store_parameter_grads(into + 2 * channels, sums, row, channels, chunks, samples)
    lane = start + tl.arange(0, block)
    grad, first, second = grad + row * voxels, first + row * voxels, second + row * voxels
    first_grad, second_grad = first_grad + row * voxels, second_grad + row * voxels
    for step in range(0, chunk, block):
        index = lane + (chunk - block - step)  # as in the forward pass
        inside = index < voxels
        slopes = tl.load(grad + index, mask=inside, other=0).to(tl.float32)
        value = tl.load(first + index, mask=inside, other=0).to(tl.float32)
        normal = (value - mean) * inverse + offset
        by_y = _with_derivative(slopes, normal * weight + bias, slope, exponential)
        by_x = by_y * scale - (normal * tilt + shift)
        tl.store(first_grad + index, by_x.to(first_grad.dtype.element_ty), mask=inside)
        if pair:
            value = tl.load(second + index, mask=inside, other=0).to(tl.float32)
            normal = (value - mean_2) * inverse_2 + offset_2
            by_y = _with_derivative(slopes, normal * weight_2 + bias_2, slope, exponential)
            by_x = by_y * scale_2 - (normal * tilt_2 + shift_2)
            tl.store(second_grad + index, by_x.to(second_grad.dtype.element_ty), mask=inside)


@jit()
def _group_means(
    sums: tl.tensor,
    weight: tl.tensor,
    group: tl.tensor,
    width: int,
    voxels: int,
    chunks: int,
    channels: int,
) -> tl.tuple:
    """Return means over a group of the gradient by the normalised values, and of their product."""
    plain = tl.zeros([PARTIALS], tl.float32)
    times_normal = tl.zeros([PARTIALS], tl.float32)
    sums += 2 * group * width * chunks
    weight += group * width % channels
    for step in range(0, width * chunks, PARTIALS):
        index = step + tl.arange(0, PARTIALS)
        inside = index < width * chunks
        scale = tl.load(weight + index // chunks, mask=inside, other=0).to(tl.float32)
        plain += scale * tl.load(sums + 2 * index, mask=inside, other=0)
        times_normal += scale * tl.load(sums + 2 * index + 1, mask=inside, other=0)
    count = tl.cast(width, tl.float32) * voxels
    return tl.sum(plain, axis=0) / count, tl.sum(times_normal, axis=0) / count


@jit()
def _store_parameter_grads(
    into: tl.tensor, sums: tl.tensor, row: tl.tensor, channels: int, chunks: int, samples: int
) -> None:
    """Add up the sums of a channel over samples and chunks."""
    by_bias = tl.zeros([PARTIALS], tl.float32)
    by_weight = tl.zeros([PARTIALS], tl.float32)
    for sample in range(samples):
        sums_of_row = sums + 2 * (row + sample * channels) * chunks
        for step in range(0, chunks, PARTIALS):
            index = step + tl.arange(0, PARTIALS)
            inside = index < chunks
            by_bias += tl.load(sums_of_row + 2 * index, mask=inside, other=0)
            by_weight += tl.load(sums_of_row + 2 * index + 1, mask=inside, other=0)
    tl.store(into, tl.sum(by_bias, axis=0))
    tl.store(into + channels, tl.sum(by_weight, axis=0))
