"""Eq. (2) voxel by voxel, as it is written, for graphs that run without this package.

`torch.export` and ONNX know exponentials and cosines, not our operators. All that the kernels are
made of is constant in such a graph, so that a runtime may fold them to a plain convolution.
"""

import math

import torch
from torch import Tensor

from gaborseg.layers.grid import SMALLEST_SIGMA, voxel_offsets


def written_out_kernel(parameters: Tensor, kernel_size: int) -> Tensor:
    """Gabor kernels of eq. (2), (8, I, O) -> (O, I, K, K, K), in the dtype of the parameters.

    Whole cycles per voxel change nothing at whole voxels: without them no angle is large.

    Args:
        parameters: The eight Gabor parameters of each pair.
        kernel_size: Side K in voxels, odd.
    """
    pairs = parameters.transpose(1, 2)[..., None, None, None]
    sigma, theta_y, theta_z, amplitude_re, amplitude_im, f_re, f_im, phase = pairs
    offsets = voxel_offsets(kernel_size, like=parameters)
    grid = offsets[:, None, None], offsets[:, None], offsets
    cosine_y = theta_y.cos()
    row = cosine_y * theta_z.cos(), -cosine_y * theta_z.sin(), theta_y.sin()
    square = grid[0] ** 2 + grid[1] ** 2 + grid[2] ** 2
    envelope = torch.exp(-square / (2 * sigma.abs().clamp(min=SMALLEST_SIGMA) ** 2))

    def angle(frequency: Tensor) -> Tensor:
        cycles = [frequency * along for along in row]
        turns = [(c - c.round()) * axis for c, axis in zip(cycles, grid, strict=True)]
        total = turns[0] + turns[1] + turns[2]
        return 2 * math.pi * (total - total.round()) + phase

    wave = amplitude_re * torch.cos(angle(f_re)) + amplitude_im * torch.sin(angle(f_im))
    return envelope * wave
