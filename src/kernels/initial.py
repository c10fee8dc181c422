"""Initial values of the Gabor parameters.

The draws cover what a kernel of side K can show: sigma from 1 voxel to K/3, frequencies from 0 to
0.3 cycles per voxel (Nyquist is 0.5), directions uniform on the sphere, all phases. The amplitudes
are normal, then scaled pair by pair so that each kernel has the energy 2 / in_channels. The kernels
of an output channel then sum up to 2, Kaiming's condition: noise keeps its variance through the
convolution and an activation that halves it. The group normalisation after a convolution would mend
a wrong sum, but not unequal pairs: energy grows like sigma^3, so a few wide kernels would decide
what an output channel sees.
"""

import math

import torch
from torch import Generator, Tensor

from src.kernels.gabor import gabor_kernel
from src.kernels.general import Part, general_gabor_kernel
from src.kernels.grid import check_convolution

LARGEST_FREQUENCY = 0.3  # cycles per voxel


def initial_gabor(
    in_channels: int, out_channels: int, kernel_size: int, generator: Generator | None = None
) -> Tensor:
    """Random parameters of `gabor_kernel`, (8, I, O); the energy of each kernel is 2 / I.

    Args:
        in_channels: I, at least 1.
        out_channels: O, at least 1.
        kernel_size: Side K in voxels, odd.
        generator: Source of randomness; torch's global one by default.

    Raises:
        TypeError: `kernel_size` is not an integer.
        ValueError: A channel count is below 1, or `kernel_size` is even or below 1.
    """
    check_convolution(in_channels, out_channels, kernel_size)
    draw = _Draw((in_channels, out_channels), generator)
    theta_y, theta_z = draw.direction()
    parameters = torch.stack(
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
    parameters[3:5] *= _equal_energy(gabor_kernel(parameters, kernel_size))
    return parameters


def initial_general_gabor(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    part: Part = "both",
    generator: Generator | None = None,
) -> Tensor:
    """Random parameters of `general_gabor_kernel`, (9, I, O); the energy of each kernel is 2 / I.

    Args:
        in_channels: I, at least 1.
        out_channels: O, at least 1.
        kernel_size: Side K in voxels, odd.
        part: The part of the kernel whose energy counts.
        generator: Source of randomness; torch's global one by default.

    Raises:
        TypeError: `kernel_size` is not an integer.
        ValueError: A channel count is below 1, `kernel_size` is even or below 1, or `part` is none
            of the three.
    """
    check_convolution(in_channels, out_channels, kernel_size)
    draw = _Draw((in_channels, out_channels), generator)
    theta_y, theta_z = draw.direction()
    parameters = torch.stack(
        (
            draw.width(kernel_size),
            draw.width(kernel_size),
            draw.width(kernel_size),
            draw.turn(),
            theta_y,
            theta_z,
            draw.normal(),
            draw.uniform(0, LARGEST_FREQUENCY),
            draw.turn(),
        )
    )
    parameters[6] *= _equal_energy(general_gabor_kernel(parameters, kernel_size, part))
    return parameters


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

    def turn(self) -> Tensor:
        """An angle anywhere on the circle."""
        return self.uniform(0, 2 * math.pi)

    def direction(self) -> tuple[Tensor, Tensor]:
        """theta_y and theta_z of a wave vector that is uniform on the sphere."""
        return self.uniform(-1, 1).asin(), self.turn()

    def width(self, kernel_size: int) -> Tensor:
        """A sigma that a kernel of this size can show."""
        return self.uniform(1, max(1, kernel_size / 3))
