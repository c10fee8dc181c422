"""Initial values of the Gabor parameters.

The draws cover what a kernel of side K can show. The first scheme is `uniform`: sigma from 1 voxel
to K/3, frequencies from 0 to 0.3 cycles per voxel (Nyquist is 0.5), directions uniform on the
sphere, all phases, normal amplitudes. It is what layers draw that are not told otherwise; the
configurations choose `white`, with which networks learn much faster. The other schemes change some
of these:

- `log_spaced`: both frequencies are equal and log-uniform up to Nyquist, and sigma is 0.56 /
  frequency, so that all kernels have a bandwidth of one octave, and the same number of cycles;
- `quadrature`: output channels come in pairs whose kernels differ in phase alone, by a quarter
  turn, as in models of complex cells;
- `kaiming`: each kernel is the plane wave that is strongest in the spectrum of a 3x3x3 kernel of
  independent normal taps, in an envelope as wide as three voxels;
- `white`: wave vectors are uniform over all that the voxel grid can hold, up to half a cycle per
  voxel along each axis, and sigma is from 0.8 to 1.2 voxels: on average a flat spectrum, as that of
  freely drawn taps.

Whatever the scheme, the amplitudes are scaled pair by pair so that each kernel has the energy
2 / in_channels. The kernels of an output channel then sum up to 2, Kaiming's condition: noise keeps
its variance through the convolution and an activation that halves it. The group normalisation after
a convolution would mend a wrong sum, but not unequal pairs: energy grows like sigma^3, so a few
wide kernels would decide what an output channel sees.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Generator, Tensor

from src.kernels.gabor import gabor_kernel
from src.kernels.general import Part, general_gabor_kernel
from src.kernels.grid import check_convolution

LARGEST_FREQUENCY = 0.3  # cycles per voxel
NYQUIST = 0.5  # cycles per voxel
ONE_OCTAVE = 3 * math.sqrt(math.log(2) / 2) / math.pi
"""sigma * frequency of a Gabor whose half-maximum frequencies are an octave apart."""
WIDTH_OF_THREE_VOXELS = math.sqrt(2 / 3)
"""Standard deviation of the offsets -1, 0, 1."""
SPECTRUM_SIZE = 16
"""Frequencies an axis at which a 3x3x3 kernel's spectrum is looked at."""

NARROW = (0.8, 1.2)
"""Voxels: widths of white kernels, about that of three voxels."""

InitialScheme = Literal["uniform", "log_spaced", "quadrature", "kaiming", "white"]


def initial_gabor(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    scheme: InitialScheme = "uniform",
    generator: Generator | None = None,
) -> Tensor:
    """Random parameters of `gabor_kernel`, (8, I, O); the energy of each kernel is 2 / I.

    Args:
        in_channels: I, at least 1.
        out_channels: O, at least 1.
        kernel_size: Side K in voxels, odd.
        scheme: How they are drawn, one of `INITIAL_SCHEMES`.
        generator: Source of randomness; torch's global one by default.

    Raises:
        TypeError: `kernel_size` is not an integer.
        ValueError: A channel count is below 1, `kernel_size` is even or below 1, or there is no
            such scheme.
    """
    check_convolution(in_channels, out_channels, kernel_size)
    draw = _Draw((in_channels, out_channels), generator)
    parameters = _drawn(scheme, draw, kernel_size)
    parameters[3:5] *= _equal_energy(gabor_kernel(parameters, kernel_size))
    return parameters


def _uniform(draw: "_Draw", kernel_size: int) -> Tensor:
    theta_y, theta_z = draw.direction()
    return torch.stack(
        (
            draw.width(kernel_size),
            theta_y,
            theta_z,
            draw.normal(),
            draw.normal(),
            draw.uniform(0, LARGEST_FREQUENCY),
            draw.uniform(0, LARGEST_FREQUENCY),
            draw.turn(),
        )
    )


def _log_spaced(draw: "_Draw", kernel_size: int) -> Tensor:
    theta_y, theta_z = draw.direction()
    narrowest = ONE_OCTAVE / NYQUIST
    widest = max(narrowest, kernel_size / 3)
    sigma = draw.uniform(math.log(narrowest), math.log(widest)).exp()
    frequency = ONE_OCTAVE / sigma
    amplitudes = draw.normal(), draw.normal()
    return torch.stack((sigma, theta_y, theta_z, *amplitudes, frequency, frequency, draw.turn()))


def _quadrature(draw: "_Draw", kernel_size: int) -> Tensor:
    parameters = _uniform(draw, kernel_size)
    parameters[6] = parameters[5]
    second = parameters[:, :, ::2].clone()
    second[3:5] = torch.stack((second[4], -second[3]))
    parameters[:, :, 1::2] = second[:, :, : parameters[:, :, 1::2].shape[2]]
    return parameters


def _kaiming(draw: "_Draw", kernel_size: int) -> Tensor:
    wave, phase = _strongest_wave(draw.cube(3))
    frequency, theta_y, theta_z = _polar(wave)
    sigma = torch.full_like(frequency, WIDTH_OF_THREE_VOXELS)
    start = draw.turn()
    amplitudes = (phase - start).cos(), -(phase - start).sin()
    return torch.stack((sigma, theta_y, theta_z, *amplitudes, frequency, frequency, start))


def _white(draw: "_Draw", kernel_size: int) -> Tensor:
    sigma = draw.uniform(*NARROW)
    wave = torch.stack([draw.uniform(-NYQUIST, NYQUIST) for _ in range(3)])
    frequency, theta_y, theta_z = _polar(wave)
    amplitudes = draw.normal(), draw.normal()
    return torch.stack((sigma, theta_y, theta_z, *amplitudes, frequency, frequency, draw.turn()))


def _polar(wave: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Frequency, theta_y and theta_z of wave vectors (3, I, O)."""
    frequency = torch.linalg.vector_norm(wave, dim=0)
    x, y, z = (wave / frequency.clamp(min=1e-6)).clamp(-1, 1)
    return frequency, z.asin(), torch.atan2(-y, x)


def _strongest_wave(taps: Tensor) -> tuple[Tensor, Tensor]:
    """Cycles per voxel (3, I, O), and phase at the centre (I, O), of kernels (I, O, 3, 3, 3)."""
    size = SPECTRUM_SIZE
    spectrum = torch.fft.fftn(taps, s=(size, size, size), dim=(2, 3, 4)).flatten(2)
    strongest = spectrum.abs().argmax(dim=2, keepdim=True)
    phase = spectrum.gather(2, strongest).squeeze(2).angle()
    places = strongest.squeeze(2)
    wave = torch.stack((places // size**2, places // size % size, places % size)) / size
    wave -= wave.round()
    return wave, phase + 2 * math.pi * wave.sum(dim=0)  # the first tap is one voxel off the centre


INITIAL_SCHEMES: dict[str, Callable[["_Draw", int], Tensor]] = {
    "uniform": _uniform,
    "log_spaced": _log_spaced,
    "quadrature": _quadrature,
    "kaiming": _kaiming,
    "white": _white,
}


def initial_general_gabor(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    part: Part = "both",
    scheme: InitialScheme = "uniform",
    generator: Generator | None = None,
) -> Tensor:
    """Random parameters of `general_gabor_kernel`, (9, I, O); the energy of each kernel is 2 / I.

    Waves and widths are drawn as for eq. (2), widths and theta_x of every kernel by themselves.

    Args:
        in_channels: I, at least 1.
        out_channels: O, at least 1.
        kernel_size: Side K in voxels, odd.
        part: The part of the kernel whose energy counts.
        scheme: How they are drawn, one of `INITIAL_SCHEMES`.
        generator: Source of randomness; torch's global one by default.

    Raises:
        TypeError: `kernel_size` is not an integer.
        ValueError: A channel count is below 1, `kernel_size` is even or below 1, `part` is none of
            the three, or there is no such scheme.
    """
    check_convolution(in_channels, out_channels, kernel_size)
    draw = _Draw((in_channels, out_channels), generator)
    first, *others = (_drawn(scheme, draw, kernel_size) for _ in range(3))
    sigma_x, theta_y, theta_z, amplitude_re, amplitude_im, frequency, _, start = first
    amplitude = torch.hypot(amplitude_re, amplitude_im)
    phase = start - torch.atan2(amplitude_im, amplitude_re) + PHASE_SHIFT[part]
    sigmas = sigma_x, *(other[0] for other in others)
    angles = draw.turn(), theta_y, theta_z
    parameters = torch.stack((*sigmas, *angles, amplitude, frequency, phase))
    parameters[6] *= _equal_energy(general_gabor_kernel(parameters, kernel_size, part))
    return parameters


PHASE_SHIFT: dict[Part, float] = {"real": 0, "imaginary": math.pi / 2, "both": math.pi / 4}
"""Radians that make the wave of a part, a sine or a sum of both, a cosine of the phase before."""


def _drawn(scheme: InitialScheme, draw: "_Draw", kernel_size: int) -> Tensor:
    """Parameters of eq. (2) by a scheme, (8, I, O), before their energy is made equal.

    Raises:
        ValueError: There is no such scheme.
    """
    if scheme not in INITIAL_SCHEMES:
        raise ValueError(f"initial must be one of {', '.join(INITIAL_SCHEMES)}, got {scheme!r}")
    return INITIAL_SCHEMES[scheme](draw, kernel_size)


def _equal_energy(kernel: Tensor) -> Tensor:
    """Factors (I, O) that give each kernel of (O, I, K, K, K) the energy 2 / I."""
    energy = kernel.square().sum(dim=(2, 3, 4)).T
    return torch.sqrt(2 / (len(energy) * energy))


class _Draw:
    """Random (I, O) tensors, one for each parameter."""

    def __init__(self, shape: tuple[int, int], generator: Generator | None) -> None:
        self.shape = shape
        self.generator = generator

    def uniform(self, low: float, high: float) -> Tensor:
        return torch.empty(self.shape).uniform_(low, high, generator=self.generator)

    def normal(self) -> Tensor:
        return torch.empty(self.shape).normal_(generator=self.generator)

    def cube(self, side: int) -> Tensor:
        """Independent normal taps, (I, O, side, side, side)."""
        shape = (*self.shape, side, side, side)
        return torch.empty(shape).normal_(generator=self.generator)

    def turn(self) -> Tensor:
        """An angle anywhere on the circle."""
        return self.uniform(0, 2 * math.pi)

    def direction(self) -> tuple[Tensor, Tensor]:
        """theta_y and theta_z of a wave vector that is uniform on the sphere."""
        return self.uniform(-1, 1).asin(), self.turn()

    def width(self, kernel_size: int) -> Tensor:
        """A sigma that a kernel of this size can show."""
        return self.uniform(1, max(1, kernel_size / 3))
