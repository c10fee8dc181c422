"""Initial Gabor parameters: five schemes, named by `initial=`.

- `white`, the default: wave vectors are uniform over all that the voxel grid can hold, up to half a
  cycle per voxel along each axis, and sigma is from 0.8 to 1.2 voxels: on average a flat spectrum,
  as that of freely drawn taps. Networks learn fastest with it;
- `uniform`: sigma from 1 voxel to K/3, frequencies from 0 to 0.3 cycles per voxel (Nyquist is 0.5),
  directions uniform on the sphere, all phases, normal amplitudes. The others change some of these:
- `log_spaced`: both frequencies are equal and log-uniform up to Nyquist, and sigma is 0.56 /
  frequency, so that all kernels have a bandwidth of one octave, and the same number of cycles;
- `quadrature`: output channels come in pairs whose kernels differ in phase alone, by a quarter
  turn, as in models of complex cells;
- `kaiming`: each kernel is the plane wave that is strongest in the spectrum of a 3x3x3 kernel of
  independent normal taps, in an envelope as wide as three voxels.

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

_LARGEST_FREQUENCY = 0.3  # cycles per voxel
NYQUIST = 0.5  # cycles per voxel
_ONE_OCTAVE = 3 * math.sqrt(math.log(2) / 2) / math.pi
"""sigma * frequency of a Gabor whose half-maximum frequencies are an octave apart."""
_WIDTH_OF_THREE_VOXELS = math.sqrt(2 / 3)
"""Standard deviation of the offsets -1, 0, 1."""
_SPECTRUM_SIZE = 16
"""Frequencies an axis at which a 3x3x3 kernel's spectrum is looked at."""

NARROW = (0.8, 1.2)
"""Voxels: widths of white kernels, about that of three voxels."""

InitialScheme = Literal["uniform", "log_spaced", "quadrature", "kaiming", "white"]


def _uniform(draw: "Draw", kernel_size: int) -> Tensor:
    theta_y, theta_z = draw.direction()
    return torch.stack(
        (
            draw.width(kernel_size),
            theta_y,
            theta_z,
            draw.normal(),
            draw.normal(),
            draw.uniform(0, _LARGEST_FREQUENCY),
            draw.uniform(0, _LARGEST_FREQUENCY),
            draw.turn(),
        )
    )


def _log_spaced(draw: "Draw", kernel_size: int) -> Tensor:
    theta_y, theta_z = draw.direction()
    narrowest = _ONE_OCTAVE / NYQUIST
    widest = max(narrowest, kernel_size / 3)
    sigma = draw.uniform(math.log(narrowest), math.log(widest)).exp()
    frequency = _ONE_OCTAVE / sigma
    amplitudes = draw.normal(), draw.normal()
    return torch.stack((sigma, theta_y, theta_z, *amplitudes, frequency, frequency, draw.turn()))


def _quadrature(draw: "Draw", kernel_size: int) -> Tensor:
    parameters = _uniform(draw, kernel_size)
    parameters[6] = parameters[5]
    second = parameters[:, :, ::2].clone()
    second[3:5] = torch.stack((second[4], -second[3]))
    parameters[:, :, 1::2] = second[:, :, : parameters[:, :, 1::2].shape[2]]
    return parameters


def _kaiming(draw: "Draw", kernel_size: int) -> Tensor:
    wave, phase = _strongest_wave(draw.cube(3))
    frequency, theta_y, theta_z = _polar(wave)
    sigma = torch.full_like(frequency, _WIDTH_OF_THREE_VOXELS)
    start = draw.turn()
    amplitudes = (phase - start).cos(), -(phase - start).sin()
    return torch.stack((sigma, theta_y, theta_z, *amplitudes, frequency, frequency, start))


def _white(draw: "Draw", kernel_size: int) -> Tensor:
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
    size = _SPECTRUM_SIZE
    spectrum = torch.fft.fftn(taps, s=(size, size, size), dim=(2, 3, 4)).flatten(2)
    strongest = spectrum.abs().argmax(dim=2, keepdim=True)
    phase = spectrum.gather(2, strongest).squeeze(2).angle()
    places = strongest.squeeze(2)
    wave = torch.stack((places // size**2, places // size % size, places % size)) / size
    wave -= wave.round()
    return wave, phase + 2 * math.pi * wave.sum(dim=0)  # the first tap is one voxel off the centre


_INITIAL_SCHEMES: dict[str, Callable[["Draw", int], Tensor]] = {
    "uniform": _uniform,
    "log_spaced": _log_spaced,
    "quadrature": _quadrature,
    "kaiming": _kaiming,
    "white": _white,
}


def draw_gabor(scheme: InitialScheme, draw: "Draw", kernel_size: int) -> Tensor:
    """Parameters of eq. (2) by a scheme, (8, I, O), before their energy is made equal.

    Raises:
        ValueError: There is no such scheme.
    """
    if scheme not in _INITIAL_SCHEMES:
        raise ValueError(f"initial must be one of {', '.join(_INITIAL_SCHEMES)}, got {scheme!r}")
    return _INITIAL_SCHEMES[scheme](draw, kernel_size)


def equal_energy(kernel: Tensor) -> Tensor:
    """Factors (I, O) that give each kernel of (O, I, K, K, K) the energy 2 / I."""
    energy = kernel.square().sum(dim=(2, 3, 4)).T
    return torch.sqrt(2 / (len(energy) * energy))


class Draw:
    """Random (I, O) tensors, one for each parameter of a kernel.

    Args:
        shape: (I, O).
        generator: Source of randomness; torch's global one by default.
    """

    def __init__(self, shape: tuple[int, int], generator: Generator | None = None) -> None:
        self.shape = shape
        self.generator = generator

    def uniform(self, low: float, high: float) -> Tensor:
        """Numbers from low to high."""
        return torch.empty(self.shape).uniform_(low, high, generator=self.generator)

    def normal(self) -> Tensor:
        """Standard normal numbers."""
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
