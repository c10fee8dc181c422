"""Triton kernels of `synthesis.py`: Gabor kernels of eq. (2) from their parameters, and back."""

from __future__ import annotations

import math

from gaborseg.gpu.kernels.jit import jit, triton

if triton is not None:
    import triton.language as tl

    PI = tl.constexpr(math.pi)
    TURN = tl.constexpr(2**32)
    EIGHTH = tl.constexpr(2**29)


@jit(any_value=("inputs", "outputs"))
def forward_kernel(
    parameters: tl.tensor,
    taps: tl.tensor,
    inputs: int,
    outputs: int,
    size: tl.constexpr,
    side: tl.constexpr,
    pairs: tl.constexpr,
    smallest_sigma: tl.constexpr,
) -> None:
    """Write the taps of a block of pairs."""
    at, inside, voxel, there = _addresses(taps, inputs, outputs, size, side, pairs)
    sigma, theta_y, theta_z, a_re, a_im, f_re, f_im, psi = read(
        parameters + at, inside, inputs * outputs
    )
    width = width_of(sigma, smallest_sigma)
    row = rotation_row(theta_y, theta_z)
    x_re, real_re, imag_re = _plane_wave(f_re, row, psi, width, size, side)
    x_im, real_im, imag_im = _plane_wave(f_im, row, psi - PI / 2, width, size, side)
    weight_re, weight_im = a_re.to(tl.float32)[:, :, None], a_im.to(tl.float32)[:, :, None]
    for step in range(size):
        re, _ = move(real_re, imag_re, x_re, width, step - size // 2)
        im, _ = move(real_im, imag_im, x_im, width, step - size // 2)
        tl.store(voxel + step * size * size, weight_re * re + weight_im * im, mask=there)


@jit(any_value=("inputs", "outputs"))
def backward_kernel(
    parameters: tl.tensor,
    taps: tl.tensor,
    result: tl.tensor,
    inputs: int,
    outputs: int,
    size: tl.constexpr,
    side: tl.constexpr,
    pairs: tl.constexpr,
    smallest_sigma: tl.constexpr,
) -> None:
    """Read the gradient by the taps of a block of pairs, write that by their parameters."""
    at, inside, voxel, there = _addresses(taps, inputs, outputs, size, side, pairs)
    sigma, theta_y, theta_z, a_re, a_im, f_re, f_im, psi = read(
        parameters + at, inside, inputs * outputs
    )
    width = width_of(sigma, smallest_sigma)
    row = rotation_row(theta_y, theta_z)
    wave_re = _plane_wave(f_re, row, psi, width, size, side)
    by_a_re, late_re, spread_re, x_re, y_re, z_re = moments(
        voxel, there, wave_re, width, size, side
    )
    wave_im = _plane_wave(f_im, row, psi - PI / 2, width, size, side)
    by_a_im, late_im, spread_im, x_im, y_im, z_im = moments(
        voxel, there, wave_im, width, size, side
    )

    cycle_re, cycle_im = -2 * PI * a_re, -2 * PI * a_im
    by_x = cycle_re * f_re * x_re + cycle_im * f_im * x_im
    by_y = cycle_re * f_re * y_re + cycle_im * f_im * y_im
    by_z = cycle_re * f_re * z_re + cycle_im * f_im * z_im
    sign = (sigma > 0).to(tl.float64) - (sigma < 0).to(tl.float64)
    by_sigma = (a_re * spread_re + a_im * spread_im) / (width * width * width) * sign
    by_theta_y = tl.cos(theta_y) * by_z - tl.sin(theta_y) * (
        tl.cos(theta_z) * by_x - tl.sin(theta_z) * by_y
    )
    by_theta_z = row[1] * by_x - row[0] * by_y
    by_f_re = cycle_re * (row[0] * x_re + row[1] * y_re + row[2] * z_re)
    by_f_im = cycle_im * (row[0] * x_im + row[1] * y_im + row[2] * z_im)
    by_psi = -(a_re * late_re + a_im * late_im)
    into, stride = result + at, inputs * outputs
    tl.store(into, by_sigma, mask=inside)
    tl.store(into + stride, by_theta_y, mask=inside)
    tl.store(into + 2 * stride, by_theta_z, mask=inside)
    tl.store(into + 3 * stride, by_a_re, mask=inside)
    tl.store(into + 4 * stride, by_a_im, mask=inside)
    tl.store(into + 5 * stride, by_f_re, mask=inside)
    tl.store(into + 6 * stride, by_f_im, mask=inside)
    tl.store(into + 7 * stride, by_psi, mask=inside)


@jit()
def _addresses(
    taps: tl.tensor,
    inputs: int,
    outputs: int,
    size: tl.constexpr,
    side: tl.constexpr,
    pairs: tl.constexpr,
) -> tl.tuple:
    """Return where the program's pairs are, among the parameters and among the taps.

    Offsets from the first sigma and which pairs exist, (P, 1); pointers to the taps of each pair's
    first plane and which of these exist, (P, K, K).
    """
    pair = tl.program_id(0) * pairs + tl.arange(0, pairs)[:, None]
    inside = pair < inputs * outputs
    offset = tl.arange(0, side)
    y, z = offset[None, :, None], offset[None, None, :]
    voxel = taps + pair[:, :, None].to(tl.int64) * (size * size * size) + y * size + z
    there = inside[:, :, None] & (y < size) & (z < size)
    return pair % inputs * outputs + pair // inputs, inside, voxel, there


@jit()
def read(at: tl.tensor, inside: tl.tensor, stride: int) -> tl.tuple:
    """Return the eight parameters of each pair, (P, 1), in float64."""
    return (
        tl.load(at, mask=inside, other=0).to(tl.float64),
        tl.load(at + stride, mask=inside, other=0).to(tl.float64),
        tl.load(at + 2 * stride, mask=inside, other=0).to(tl.float64),
        tl.load(at + 3 * stride, mask=inside, other=0).to(tl.float64),
        tl.load(at + 4 * stride, mask=inside, other=0).to(tl.float64),
        tl.load(at + 5 * stride, mask=inside, other=0).to(tl.float64),
        tl.load(at + 6 * stride, mask=inside, other=0).to(tl.float64),
        tl.load(at + 7 * stride, mask=inside, other=0).to(tl.float64),
    )


@jit()
def width_of(sigma: tl.tensor, smallest_sigma: tl.constexpr) -> tl.tensor:
    """Return the absolute sigma, kept from 0; not a number stays so."""
    return tl.where(tl.abs(sigma) < smallest_sigma, smallest_sigma, tl.abs(sigma))


@jit()
def rotation_row(theta_y: tl.tensor, theta_z: tl.tensor) -> tl.tuple:
    """Return the first row of the rotation, one entry an axis."""
    cos_y = tl.cos(theta_y)
    return cos_y * tl.cos(theta_z), -cos_y * tl.sin(theta_z), tl.sin(theta_y)


@jit()
def _plane_wave(
    frequency: tl.tensor,
    row: tl.tensor,
    phase: tl.tensor,
    width: tl.tensor,
    size: tl.constexpr,
    side: tl.constexpr,
) -> tl.tuple:
    """Return turns per voxel along x, (P, 1), and the wave in the plane x = 0, (P, K, K) twice."""
    offset = tl.arange(0, side)[None, :] - size // 2
    start = turns(phase / (2 * PI))
    y_real, y_imag = factor(turns(frequency * row[1]) * offset + start, width, offset)
    z_real, z_imag = factor(turns(frequency * row[2]) * offset, width, offset)
    y_real += (0 * (frequency * row[0] * row[2] + phase)).to(tl.float32)  # integers know no NaN
    y_real, y_imag = y_real[:, :, None], y_imag[:, :, None]
    z_real, z_imag = z_real[:, None, :], z_imag[:, None, :]
    real, imag = y_real * z_real - y_imag * z_imag, y_real * z_imag + y_imag * z_real
    return turns(frequency * row[0]), real, imag


@jit()
def move(
    real: tl.tensor, imag: tl.tensor, per_voxel: tl.tensor, width: tl.tensor, x: tl.tensor
) -> tl.tuple:
    """Return the complex wave in another plane, x voxels on."""
    x_real, x_imag = factor(per_voxel * x, width, x)
    x_real, x_imag = x_real[:, :, None], x_imag[:, :, None]
    return real * x_real - imag * x_imag, real * x_imag + imag * x_real


@jit()
def moments(
    voxel: tl.tensor,
    there: tl.tensor,
    wave: tl.tensor,
    width: tl.tensor,
    size: tl.constexpr,
    side: tl.constexpr,
) -> tl.tuple:
    """Return sums over a kernel, (P, 1), of the gradient by its taps times parts of a wave.

    The real part, the imaginary part, the real part times the squared distance from the centre, and
    the imaginary part times each of x, y and z.
    """
    per_voxel, real, imag = wave
    cosine = tl.zeros_like(real)
    sine, far, x_sine = cosine, cosine, cosine
    for step in range(size):
        x = step - size // 2
        grad = tl.load(voxel + step * size * size, mask=there, other=0)
        re, im = move(real, imag, per_voxel, width, x)
        cosine += grad * re
        sine += grad * im
        far += x * x * (grad * re)
        x_sine += x * (grad * im)
    offset = tl.arange(0, side) - size // 2
    y, z = offset[None, :, None], offset[None, None, :]
    far += (y * y + z * z) * cosine
    return total(cosine), total(sine), total(far), total(x_sine), total(y * sine), total(z * sine)


@jit()
def factor(angle: tl.tensor, width: tl.tensor, offset: tl.tensor) -> tl.tuple:
    """Return the complex factor of an axis, of an angle in units of 2^-32 turns."""
    distance = offset / width.to(tl.float32)
    envelope = tl.exp(-0.5 * distance * distance)
    cosine, sine = _cosine_and_sine(angle)
    return envelope * cosine, envelope * sine


@jit()
def _cosine_and_sine(angle: tl.tensor) -> tl.tuple:
    """Return the cosine and the sine of an angle in units of 2^-32 turns.

    The angle is brought within an eighth of a turn, which integers do exactly; there two short
    series are exact to rounding. `tl.cos` would bring along code for huge angles, and memory.
    """
    quarter = (angle + EIGHTH) >> 30
    x = (angle - (quarter << 30)).to(tl.float32) * (2 * PI / TURN)
    square = x * x
    cosine = 1 + square * (-1 / 2 + square * (1 / 24 + square * (-1 / 720 + square / 40320)))
    sine = x + x * square * (-1 / 6 + square * (1 / 120 + square * (-1 / 5040 + square / 362880)))
    odd = (quarter & 1) != 0
    turned, other = tl.where(odd, sine, cosine), tl.where(odd, cosine, sine)
    flip = (quarter + 1) & 2
    return tl.where(flip != 0, -turned, turned), tl.where((quarter & 2) != 0, -other, other)


@jit()
def turns(cycles: tl.tensor) -> tl.tensor:
    """Return an angle without its whole turns, in units of 2^-32 turns: they wrap as angles do."""
    return ((cycles - tl.floor(cycles)) * TURN).to(tl.int64).to(tl.int32)


@jit()
def total(plane: tl.tensor) -> tl.tensor:
    """Return the sum over a plane, (P, K, K) to (P, 1)."""
    return tl.sum(tl.sum(plane, axis=2), axis=1, keep_dims=True)
