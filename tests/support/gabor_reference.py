"""Equation (2) as it is printed, voxel by voxel on a grid: the reference of every Gabor test."""

import math

import torch
from torch import Tensor

HARD_SIGMAS = (0.15, 0.4, 1.0, 2.5, 30.0, -0.7, -3.0, 0.0)
"""Envelopes from far below a voxel to far beyond a kernel, both signs, and the delta."""


def naive_gabor_kernel(parameters: Tensor, kernel_size: int) -> Tensor:
    """Kernels (O, I, K, K, K) of parameters (8, I, O), with K^3 transcendentals per pair."""
    sigma, theta_y, theta_z, amplitude_re, amplitude_im, frequency_re, frequency_im, phase = (
        parameters.transpose(1, 2)[..., None, None, None]
    )
    sigma = torch.where(sigma == 0, 1e-3, sigma)  # a delta already, and its gradient is zero
    half = kernel_size // 2
    offsets = torch.arange(-half, half + 1, dtype=parameters.dtype)
    x, y, z = torch.meshgrid(offsets, offsets, offsets, indexing="ij")
    rotated = (
        x * theta_y.cos() * theta_z.cos() - y * theta_y.cos() * theta_z.sin() + z * theta_y.sin()
    )
    wave_re = amplitude_re * torch.cos(2 * math.pi * frequency_re * rotated + phase)
    wave_im = amplitude_im * torch.sin(2 * math.pi * frequency_im * rotated + phase)
    return torch.exp(-(x**2 + y**2 + z**2) / (2 * sigma**2)) * (wave_re + wave_im)


def hard_parameters(in_channels: int, out_channels: int, seed: int = 0) -> Tensor:
    """Parameters (8, I, O) in float64, float32-exact: hard sigmas, any angle, f up to 2."""
    draw = torch.Generator().manual_seed(seed)
    uniform = torch.rand(8, in_channels, out_channels, generator=draw) * 2 - 1
    scale = torch.tensor([1.0, math.pi, math.pi, 1.0, 1.0, 2.0, 2.0, math.pi])
    parameters = uniform * scale[:, None, None]
    count = in_channels * out_channels
    sigmas = torch.tensor(HARD_SIGMAS).repeat(-(-count // len(HARD_SIGMAS)))[:count]
    parameters[0] = sigmas.view(in_channels, out_channels)
    return parameters.double()
