"""Triton kernels of `spectra.py`: factors of the spectra of Gabor kernels, and their product."""

from __future__ import annotations

from gaborseg.gpu.kernels.jit import jit, triton
from gaborseg.gpu.kernels.synthesis import factor, read, rotation_row, turns, width_of

if triton is not None:
    import triton.language as tl


@jit(any_value=("all_pairs",))
def taps_kernel(
    parameters: tl.tensor,
    taps: tl.tensor,
    amplitudes: tl.tensor,
    all_pairs: int,
    radius: tl.constexpr,
    pairs: tl.constexpr,
    smallest_sigma: tl.constexpr,
) -> None:
    """Write what the spectra of a block of pairs are made from: a thread, a pair."""
    pair = tl.program_id(0) * pairs + tl.arange(0, pairs)
    inside = pair < all_pairs
    sigma, theta_y, theta_z, a_re, a_im, f_re, f_im, psi = read(
        parameters + pair, inside, all_pairs
    )
    width = width_of(sigma, smallest_sigma)
    x, y, z = rotation_row(theta_y, theta_z)
    taps += pair
    _wave_taps(taps, f_re * x, width, inside, all_pairs, radius)
    _wave_taps(taps + 2 * radius * all_pairs, f_im * x, width, inside, all_pairs, radius)
    _wave_taps(taps + 4 * radius * all_pairs, f_re * y, width, inside, all_pairs, radius)
    _wave_taps(taps + 6 * radius * all_pairs, f_im * y, width, inside, all_pairs, radius)
    _wave_taps(taps + 8 * radius * all_pairs, f_re * z, width, inside, all_pairs, radius)
    _wave_taps(taps + 10 * radius * all_pairs, f_im * z, width, inside, all_pairs, radius)
    cosine, sine = tl.cos(psi), tl.sin(psi)
    amplitudes += pair
    tl.store(amplitudes, a_re * cosine, mask=inside)
    tl.store(amplitudes + all_pairs, a_im * sine, mask=inside)
    tl.store(amplitudes + 2 * all_pairs, a_re * sine, mask=inside)
    tl.store(amplitudes + 3 * all_pairs, -a_im * cosine, mask=inside)


@jit()
def _wave_taps(
    into: tl.tensor,
    cycles: tl.tensor,
    width: tl.tensor,
    inside: tl.tensor,
    all_pairs: int,
    radius: tl.constexpr,
) -> None:
    """Write the complex taps of one wave along one axis, those behind the centre."""
    unknown = (0 * cycles).to(tl.float32)  # integers know no NaN
    for offset in tl.static_range(1, radius + 1):
        real, imaginary = factor(turns(cycles) * offset, width, offset)
        tl.store(into, real + unknown, mask=inside)
        tl.store(into + all_pairs, imaginary + unknown, mask=inside)
        into += 2 * all_pairs


@jit(any_value=("all_pairs",))
def factors_kernel(
    taps: tl.tensor,
    amplitudes: tl.tensor,
    waves_0: tl.tensor,
    waves_1: tl.tensor,
    waves_2: tl.tensor,
    rows: tl.tensor,
    columns: tl.tensor,
    all_pairs: int,
    n_0: tl.constexpr,
    n_1: tl.constexpr,
    n_2: tl.constexpr,
    radius: tl.constexpr,
    pairs: tl.constexpr,
    side: tl.constexpr,
    half_side: tl.constexpr,
) -> None:
    """Write a block of rows of a block of pairs; the first block of rows also the columns."""
    pair = tl.program_id(0) * pairs + tl.arange(0, pairs)[:, None]
    inside = pair < all_pairs
    taps += pair
    wave: tl.constexpr = 2 * radius
    row = tl.program_id(1) * side + tl.arange(0, side)[None, :]
    there = inside & (row < n_0 * n_1)
    k_0, k_1 = row // n_1 % n_0, row % n_1
    into = rows + pair.to(tl.int64) * (4 * n_0 * n_1) + row
    e_0, o_0 = _axis(taps, waves_0 + k_0, inside, all_pairs, n_0, radius)
    e_1, o_1 = _axis(taps + 2 * wave * all_pairs, waves_1 + k_1, inside, all_pairs, n_1, radius)
    tl.store(into, e_0 * e_1 + o_0 * o_1, mask=there)
    tl.store(into + 2 * n_0 * n_1, e_0 * o_1 + o_0 * e_1, mask=there)
    e_0, o_0 = _axis(taps + wave * all_pairs, waves_0 + k_0, inside, all_pairs, n_0, radius)
    e_1, o_1 = _axis(taps + 3 * wave * all_pairs, waves_1 + k_1, inside, all_pairs, n_1, radius)
    tl.store(into + n_0 * n_1, e_0 * e_1 + o_0 * o_1, mask=there)
    tl.store(into + 3 * n_0 * n_1, e_0 * o_1 + o_0 * e_1, mask=there)
    if tl.program_id(1) == 0:
        half: tl.constexpr = n_2 // 2 + 1
        k_2 = tl.arange(0, half_side)[None, :]
        column = inside & (k_2 < half)
        at = columns + pair.to(tl.int64) * (8 * half) + k_2
        along_2, of_pair = waves_2 + k_2 % half, amplitudes + pair
        for number in tl.static_range(2):
            cosine = tl.load(of_pair + number * all_pairs, mask=inside, other=0)
            sine = tl.load(of_pair + (2 + number) * all_pairs, mask=inside, other=0)
            along = taps + (4 + number) * wave * all_pairs
            even, odd = _axis(along, along_2, inside, all_pairs, n_2, radius)
            tl.store(at + number * half, cosine * even, mask=column)
            tl.store(at + (2 + number) * half, cosine * odd, mask=column)
            tl.store(at + (4 + number) * half, sine * odd, mask=column)
            tl.store(at + (6 + number) * half, sine * even, mask=column)


@jit()
def _axis(
    taps: tl.tensor,
    waves: tl.tensor,
    inside: tl.tensor,
    all_pairs: int,
    period: tl.constexpr,
    radius: tl.constexpr,
) -> tl.tuple:
    """Return even and odd part of one axis' spectrum: taps of (P, 1), waves of (1, N), (P, N)."""
    even = tl.load(taps, mask=inside, other=0) * tl.load(waves) + 1
    odd = tl.load(taps + all_pairs, mask=inside, other=0) * tl.load(waves + radius * period)
    for offset in tl.static_range(1, radius):
        at = taps + 2 * offset * all_pairs
        even += tl.load(at, mask=inside, other=0) * tl.load(waves + offset * period)
        at += all_pairs
        odd += tl.load(at, mask=inside, other=0) * tl.load(waves + (radius + offset) * period)
    return even, odd


@jit(any_value=("summed", "kept", "step_summed", "step_kept"))
def multiply_kernel(
    spectra: tl.tensor,
    rows: tl.tensor,
    columns: tl.tensor,
    result: tl.tensor,
    summed: int,
    kept: int,
    step_summed: tl.tensor,
    step_kept: tl.tensor,
    all_rows: tl.constexpr,
    half: tl.constexpr,
    adjoint: tl.constexpr,
    some_rows: tl.constexpr,
    some_columns: tl.constexpr,
) -> None:
    """Add up a tile of frequencies of two channels."""
    blocks: tl.constexpr = (half + some_columns - 1) // some_columns
    row = tl.program_id(0) // blocks * some_rows + tl.arange(0, some_rows)
    column = tl.program_id(0) % blocks * some_columns + tl.arange(0, some_columns)
    number = tl.program_id(0) % blocks * (2 * some_columns) + tl.arange(0, 2 * some_columns)
    there = (row < all_rows)[:, None] & (number < 2 * half)[None, :]
    at = row[:, None] * (2 * half) + number[None, :]
    volume: tl.constexpr = all_rows * half * 2
    sample, channel = tl.program_id(2).to(tl.int64), tl.program_id(1) * 2
    last = tl.minimum(channel + 1, kept - 1)
    spectra += sample * summed * volume
    rows_a = rows + channel.to(tl.int64) * step_kept * (4 * all_rows) + row
    rows_b = rows + last.to(tl.int64) * step_kept * (4 * all_rows) + row
    columns_a = columns + channel.to(tl.int64) * step_kept * (8 * half) + column
    columns_b = columns + last.to(tl.int64) * step_kept * (8 * half) + column
    a_re = tl.zeros([some_rows, some_columns], tl.float32)
    a_im, b_re, b_im = a_re, a_re, a_re
    for _ in range(summed):
        re, im = complex_tile(tl.load(spectra + at, mask=there, other=0))
        if adjoint:  # conj(T) X is the conjugate of T conj(X)
            im = -im
        t_re, t_im = _coefficients(rows_a, columns_a, all_rows, half)
        a_re += t_re * re
        a_re -= t_im * im
        a_im += t_re * im
        a_im += t_im * re
        t_re, t_im = _coefficients(rows_b, columns_b, all_rows, half)
        b_re += t_re * re
        b_re -= t_im * im
        b_im += t_re * im
        b_im += t_im * re
        spectra += volume
        rows_a += step_summed.to(tl.int64) * (4 * all_rows)
        rows_b += step_summed.to(tl.int64) * (4 * all_rows)
        columns_a += step_summed.to(tl.int64) * (8 * half)
        columns_b += step_summed.to(tl.int64) * (8 * half)
    if adjoint:
        a_im, b_im = -a_im, -b_im
    result += (sample * kept + channel) * volume
    tl.store(result + at, tl.join(a_re, a_im).reshape(at.shape), mask=there)
    there &= channel + 1 < kept
    tl.store(result + volume + at, tl.join(b_re, b_im).reshape(at.shape), mask=there)


@jit()
def complex_tile(numbers: tl.tensor) -> tl.tuple:
    """Return real and imaginary part of a tile of complex numbers, (R, 2 C) -> (R, C) twice."""
    return tl.split(numbers.reshape([numbers.shape[0], numbers.shape[1] // 2, 2]))


@jit()
def _coefficients(
    row: tl.tensor,
    column: tl.tensor,
    rows: tl.constexpr,
    half: tl.constexpr,
) -> tl.tuple:
    """Return a tile of a kernel's spectrum, real and imaginary part."""
    p_0 = tl.load(row)[:, None]
    p_1 = tl.load(row + rows)[:, None]
    m_0 = tl.load(row + 2 * rows)[:, None]
    m_1 = tl.load(row + 3 * rows)[:, None]
    re = p_0 * tl.load(column)[None, :]
    re += p_1 * tl.load(column + half)[None, :]
    re += m_0 * tl.load(column + 2 * half)[None, :]
    re += m_1 * tl.load(column + 3 * half)[None, :]
    im = p_0 * tl.load(column + 4 * half)[None, :]
    im += p_1 * tl.load(column + 5 * half)[None, :]
    im += m_0 * tl.load(column + 6 * half)[None, :]
    im += m_1 * tl.load(column + 7 * half)[None, :]
    return re, im
