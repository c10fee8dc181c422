"""Triton kernel of `taps.py`: the gradient by the taps of kernels, from spectra."""

from __future__ import annotations

from gaborseg.gpu.kernels.jit import jit, triton
from gaborseg.gpu.kernels.spectra import complex_tile

if triton is not None:
    import triton.language as tl


@jit(any_value=("samples", "kept", "summed", "share"))
def tap_kernel(
    outputs: tl.tensor,
    inputs: tl.tensor,
    columns: tl.tensor,
    phases: tl.tensor,
    result: tl.tensor,
    samples: int,
    kept: tl.tensor,
    summed: tl.tensor,
    share: int,
    rows: tl.constexpr,
    half: tl.constexpr,
    padded_rows: tl.constexpr,
    plane: tl.constexpr,
    side: tl.constexpr,
    together: tl.constexpr,
    some_rows: tl.constexpr,
    some_columns: tl.constexpr,
    precision: tl.constexpr,
) -> None:
    """Add up a share of the rows, for one input and a few outputs."""
    volume: tl.constexpr = rows * half * 2
    blocks: tl.constexpr = (half + some_columns - 1) // some_columns
    table: tl.constexpr = blocks * some_columns * 2 * side
    lane = tl.arange(0, together * some_rows)
    output = tl.program_id(0) * together + lane // some_rows
    input_, split = tl.program_id(1), tl.program_id(2)
    outputs += tl.minimum(output, kept - 1).to(tl.int64)[:, None] * volume
    inputs += input_.to(tl.int64) * volume
    tap, wave = tl.arange(0, plane), tl.arange(0, 2 * side)
    both = tl.arange(0, 2 * some_rows)
    phases += tap[:, None] * (2 * padded_rows) + (both // some_rows * padded_rows)[None, :]
    total = tl.zeros([plane, together * side], tl.float32)
    for begin in range(split * share, tl.minimum((split + 1) * share, rows), some_rows):
        row = begin + lane % some_rows
        by_wave = tl.zeros([together * some_rows, 2 * side], tl.float32)
        for block in range(blocks):
            column = block * some_columns + tl.arange(0, some_columns)
            number = block * (2 * some_columns) + tl.arange(0, 2 * some_columns)
            there = (row < rows)[:, None] & (number < 2 * half)[None, :]
            at = row[:, None] * (2 * half) + number[None, :]
            waves = columns + column[:, None] * (2 * side) + wave[None, :]
            cosines, sines = tl.load(waves), tl.load(waves + table)
            fine_cosines, fine_sines = tl.load(waves + 2 * table), tl.load(waves + 3 * table)
            g_at, x_at = outputs + at, inputs + at
            for _ in range(samples):
                g_re, g_im = complex_tile(tl.load(g_at, mask=there, other=0))
                x_re, x_im = complex_tile(tl.load(x_at, mask=there, other=0))
                d_re, d_im = g_re * x_re + g_im * x_im, g_re * x_im - g_im * x_re
                coarse, fine = _parts(d_re)
                by_wave = _add_product(coarse, fine, cosines, fine_cosines, by_wave, precision)
                coarse, fine = _parts(d_im)
                by_wave = _add_product(coarse, fine, sines, fine_sines, by_wave, precision)
                g_at += kept.to(tl.int64) * volume
                x_at += summed.to(tl.int64) * volume
        coarse, fine = _parts(_side_by_side(by_wave, together, some_rows, side))
        phase = phases + (begin + both % some_rows)[None, :]
        waves, fine_waves = tl.load(phase), tl.load(phase + 2 * plane * padded_rows)
        total = _add_product(waves, fine_waves, coarse, fine, total, precision)
    number = tl.arange(0, together * side)
    output, wave = tl.program_id(0) * together + number // side, number % side
    pair = (split.to(tl.int64) * kept + output) * summed + input_
    into = result + (pair * (plane * side) + wave)[None, :] + tap[:, None] * side
    tl.store(into, total, mask=(output < kept)[None, :])


@jit()
def _side_by_side(
    by_wave: tl.tensor, together: tl.constexpr, rows: tl.constexpr, side: tl.constexpr
) -> tl.tensor:
    """Return real parts of all outputs above their imaginary parts: (O R, 2 T) -> (2 R, O T)."""
    by_wave = by_wave.reshape([together, rows, 2, side]).permute(2, 1, 0, 3)
    return by_wave.reshape([2 * rows, together * side])


@jit()
def _parts(values: tl.tensor) -> tl.tuple:
    """Return numbers of the eleven digits that a matrix unit takes, and what they leave out."""
    coarse = (values.to(tl.int32, bitcast=True) & -8192).to(tl.float32, bitcast=True)
    return coarse, values - coarse


@jit()
def _add_product(
    a: tl.tensor,
    fine_a: tl.tensor,
    b: tl.tensor,
    fine_b: tl.tensor,
    total: tl.tensor,
    precision: tl.constexpr,
) -> tl.tensor:
    """Return the sum of a matrix and the product of two others, each in two parts.

    Matrix units cut off what they add up, so that the sum itself is not left to them.
    """
    if precision == "units":
        product = tl.dot(fine_a, b, input_precision="tf32")
        product = tl.dot(a, fine_b, product, input_precision="tf32")
        return total + tl.dot(a, b, product, input_precision="tf32")
    if precision == "coarse":
        return tl.dot(a, b, total, input_precision="tf32")
    return tl.dot(a + fine_a, b + fine_b, total, input_precision="ieee")
