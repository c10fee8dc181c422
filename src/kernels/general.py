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
from typing import Literal

import torch
from torch import Tensor

from src.kernels.gabor import SMALLEST_SIGMA
from src.kernels.grid import check_kernel_size, voxel_offsets

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
    if part not in _WAVES:
        raise ValueError(f"part must be one of {', '.join(_WAVES)}, got {part!r}")
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


def _rotation(theta_x: Tensor, theta_y: Tensor, theta_z: Tensor) -> tuple[tuple[Tensor, ...], ...]:
    """The three rows of Rx(theta_x) Ry(theta_y) Rz(theta_z)."""
    (cx, sx), (cy, sy), (cz, sz) = ((t.cos(), t.sin()) for t in (theta_x, theta_y, theta_z))
    return (
        (cy * cz, -cy * sz, sy),
        (cx * sz + sx * sy * cz, cx * cz - sx * sy * sz, -sx * cy),
        (sx * sz - cx * sy * cz, sx * cz + cx * sy * sz, cx * cy),
    )
