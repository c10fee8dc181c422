"""The general Gabor kernel, eq. (1), kept as an ablation of eq. (2).

    G_re(x) = amplitude g(x) cos(2 pi frequency x' + phase)
    G_im(x) = amplitude g(x) sin(2 pi frequency x' + phase)
    g(x)    = exp(-((x' / sigma_x)^2 + (y' / sigma_y)^2 + (z' / sigma_z)^2) / 2)
    (x', y', z') = R x,   R = Rx(theta_x) Ry(theta_y) Rz(theta_z)

Nine parameters for each pair of channels, one tensor (9, I, O) in this order:

| index   | name                      | symbol                    | unit             |
| ------- | ------------------------- | ------------------------- | ---------------- |
| 0, 1, 2 | sigma_x, sigma_y, sigma_z | sigma_x, sigma_y, sigma_z | voxels           |
| 3, 4, 5 | theta_x, theta_y, theta_z | theta_x, theta_y, theta_z | radians          |
| 6       | amplitude                 | A                         |                  |
| 7       | frequency                 | f                         | cycles per voxel |
| 8       | phase                     | psi                       | radians          |

An envelope with three widths is not separable once it is rotated, so this kernel is evaluated voxel
by voxel.

References:
    Wong and Moradi, 3D Segmentation with Fully Trainable Gabor Kernels and Pearson's Correlation
    Coefficient, MLMI 2022, eq. (1).
"""

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Generator, Tensor

from gaborseg.layers.draws import Draw, InitialScheme, draw_gabor, equal_energy
from gaborseg.layers.grid import SMALLEST_SIGMA, check_convolution, check_kernel_size, voxel_offsets
from gaborseg.layers.parametric import EQUAL_RATES, ParametricConv3d
from gaborseg.layers.storage import SigmaScale

GENERAL_PARAMETERS = (
    "sigma_x",
    "sigma_y",
    "sigma_z",
    "theta_x",
    "theta_y",
    "theta_z",
    "amplitude",
    "frequency",
    "phase",
)


Part = Literal["real", "imaginary", "both"]


_WAVES = {
    "real": torch.cos,
    "imaginary": torch.sin,
    "both": lambda angle: angle.cos() + angle.sin(),
}


class GeneralGaborConv3d(ParametricConv3d):
    """'Same' convolution with general Gabor kernels, eq. (1): nine parameters for each pair.

    y_o = sum_i G_oi * x_i (+ bias_o), where G is `part` of the equation at the top of this file.

    Args:
        in_channels: I, at least 1.
        out_channels: O, at least 1.
        kernel_size: Side K in voxels, odd; it does not change the number of parameters.
        part: `"real"`, `"imaginary"`, or their sum, `"both"`.
        bias: Add a trained offset to each output channel.
        trainable: Train the parameters; otherwise they are a buffer and keep their initial values.
        initial: How initial parameters are drawn, as for `GaborConv3d`.
        rates: Factor on the learning rate for each kind of parameter, as for `GaborConv3d`.
        sigma_scale: How widths are stored: `"raw"`, `"log"` or `"softplus"`.

    Shape:
        (B, I, D, H, W) -> (B, O, D, H, W), for any volume.

    Raises:
        TypeError: `kernel_size` is not an integer.
        ValueError: A channel count is below 1, `kernel_size` is even or below 1, a rate is of no
            such kind or out of range, or there is no such scheme, scale or part.

    Example:
        >>> GeneralGaborConv3d(4, 8)(torch.randn(1, 4, 9, 9, 9)).shape
        torch.Size([1, 8, 9, 9, 9])

    References:
        Wong and Moradi, MLMI 2022, eq. (1).
    """

    names = GENERAL_PARAMETERS
    kind = "gabor"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 7,
        *,
        part: Part = "both",
        bias: bool = False,
        trainable: bool = True,
        initial: InitialScheme = "white",
        rates: Mapping[str, float] = EQUAL_RATES,
        sigma_scale: SigmaScale = "raw",
    ) -> None:
        super().__init__(
            initial_general_gabor(in_channels, out_channels, kernel_size, part, initial),
            kernel_size,
            bias=bias,
            trainable=trainable,
            rates=rates,
            sigma_scale=sigma_scale,
        )
        self.part = part

    def synthesise(self, parameters: Tensor) -> Tensor:
        """Kernels of eq. (1)."""
        return general_gabor_kernel(parameters, self.kernel_size, self.part)

    def extra_repr(self) -> str:
        """The constructor's arguments."""
        return f"{super().extra_repr()}, part={self.part!r}"


def general_gabor_kernel(parameters: Tensor, kernel_size: int, part: Part = "both") -> Tensor:
    """Gabor kernels of eq. (1), (O, I, K, K, K), one for each pair of channels.

    Even in every sigma; one below 0.01 voxels (0 included) counts as 0.01, with zero gradient.

    Args:
        parameters: (9, I, O), rows named by `GENERAL_PARAMETERS`.
        kernel_size: Side K in voxels, odd.
        part: The real part, the imaginary part, or the sum of both.

    Raises:
        TypeError: `kernel_size` is not an integer.
        ValueError: `kernel_size` is even or below 1, `parameters` is not (9, I, O), or `part` is
            none of the three.
    """
    check_kernel_size(kernel_size)
    if parameters.ndim != 3 or len(parameters) != len(GENERAL_PARAMETERS):
        raise ValueError(f"parameters must be (9, I, O), got {tuple(parameters.shape)}")
    _check_part(part)
    values = parameters.transpose(1, 2)[..., None, None, None]
    sigmas, angles, (amplitude, frequency, phase) = values[:3], values[3:6], values[6:]
    offsets = voxel_offsets(kernel_size, like=parameters)
    grid = torch.meshgrid(offsets, offsets, offsets, indexing="ij")
    rotated = [
        sum(weight * axis for weight, axis in zip(row, grid, strict=True))
        for row in _rotation(*angles)
    ]
    widths = sigmas.abs().clamp(min=SMALLEST_SIGMA)
    exponent = sum((axis / width).square() for axis, width in zip(rotated, widths, strict=True))
    wave = _WAVES[part](2 * math.pi * frequency * rotated[0] + phase)
    return amplitude * torch.exp(-exponent / 2) * wave


def _check_part(part: str) -> None:
    if part not in _WAVES:
        raise ValueError(f"part must be one of {', '.join(_WAVES)}, got {part!r}")


def _rotation(theta_x: Tensor, theta_y: Tensor, theta_z: Tensor) -> tuple[tuple[Tensor, ...], ...]:
    """The three rows of Rx(theta_x) Ry(theta_y) Rz(theta_z)."""
    (cx, sx), (cy, sy), (cz, sz) = ((t.cos(), t.sin()) for t in (theta_x, theta_y, theta_z))
    return (
        (cy * cz, -cy * sz, sy),
        (cx * sz + sx * sy * cz, cx * cz - sx * sy * sz, -sx * cy),
        (sx * sz - cx * sy * cz, sx * cz + cx * sy * sz, cx * cy),
    )


def initial_general_gabor(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    part: Part = "both",
    scheme: InitialScheme = "white",
    generator: Generator | None = None,
) -> Tensor:
    """Random parameters of `general_gabor_kernel`, (9, I, O); the energy of each kernel is 2 / I.

    Waves and widths are drawn as for eq. (2), widths and theta_x of every kernel by themselves.

    Args:
        in_channels: I, at least 1.
        out_channels: O, at least 1.
        kernel_size: Side K in voxels, odd.
        part: The part of the kernel whose energy counts.
        scheme: How they are drawn, as `GaborConv3d`'s `initial`.
        generator: Source of randomness; torch's global one by default.

    Raises:
        TypeError: `kernel_size` is not an integer.
        ValueError: A channel count is below 1, `kernel_size` is even or below 1, `part` is none of
            the three, or there is no such scheme.
    """
    check_convolution(in_channels, out_channels, kernel_size)
    _check_part(part)
    draw = Draw((in_channels, out_channels), generator)
    first, *others = (draw_gabor(scheme, draw, kernel_size) for _ in range(3))
    sigma_x, theta_y, theta_z, amplitude_re, amplitude_im, frequency, _, start = first
    amplitude = torch.hypot(amplitude_re, amplitude_im)
    phase = start - torch.atan2(amplitude_im, amplitude_re) + _PHASE_SHIFT[part]
    sigmas = sigma_x, *(other[0] for other in others)
    angles = draw.turn(), theta_y, theta_z
    parameters = torch.stack((*sigmas, *angles, amplitude, frequency, phase))
    parameters[6] *= equal_energy(general_gabor_kernel(parameters, kernel_size, part))
    return parameters


_PHASE_SHIFT: dict[Part, float] = {"real": 0, "imaginary": math.pi / 2, "both": math.pi / 4}
"""Radians that make the wave of a part, a sine or a sum of both, a cosine of the phase before."""
