"""Gabor kernel synthesis, eq. (2), fused into one Triton kernel each way.

A program takes a block of channel pairs. It reads their eight parameters, evaluates the factors of
`layers/gabor.py` (K cosines, sines and exponentials an axis, not K^3), keeps their product over
the plane of the last two axes in registers and walks along the first. No intermediate value goes
through memory.

Angles are 32-bit integers in units of 2^-32 turns: times a whole offset they wrap exactly as angles
do, so a high frequency is as precise as a low one. What precedes them, a few values a pair, is
float64; from there on all is float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gaborseg.gpu.sizes import SMALLEST_SIGMA, next_power_of_2

_TAPS_AT_ONCE = 128
"""Taps that a program holds in registers: one plane of each of its pairs.

With more, Triton 3.7 gives every thread so many pairs that their float64 values do not fit.
"""

_MOST_PAIRS = 128
_WARPS = 1


def synthesise_forward(parameters: Tensor, kernel_size: int) -> Tensor:
    """Evaluate Gabor kernels, float32: (8, I, O) -> (O, I, K, K, K)."""
    from gaborseg.gpu.kernels import synthesis as kernels  # slow to import

    parameters = parameters.contiguous()
    _, inputs, outputs = parameters.shape
    kernel = parameters.new_empty(outputs, inputs, kernel_size, kernel_size, kernel_size)
    _launch(kernels.forward_kernel, parameters, kernel)
    return kernel


def synthesise_backward(grad: Tensor, parameters: Tensor, kernel_size: int) -> Tensor:
    """Return the gradient of synthesis, float32: (O, I, K, K, K), (8, I, O) -> (8, I, O)."""
    from gaborseg.gpu.kernels import synthesis as kernels

    grad, parameters = grad.contiguous(), parameters.contiguous()
    parameters_grad = torch.empty_like(parameters)
    _launch(kernels.backward_kernel, parameters, grad, parameters_grad)
    return parameters_grad


def _launch(kernel: Any, parameters: Tensor, taps: Tensor, *result: Tensor) -> None:
    """Run a Triton kernel over all pairs of channels, on the device of its tensors."""
    _, inputs, outputs = parameters.shape
    size = taps.shape[-1]
    side = next_power_of_2(size)
    pairs = min(_MOST_PAIRS, max(1, _TAPS_AT_ONCE // side**2))
    blocks = -(-inputs * outputs // pairs)
    sizes = (inputs, outputs, size, side, pairs, SMALLEST_SIGMA)
    if blocks:
        with torch.cuda.device_of(parameters):
            kernel[blocks,](parameters, taps, *result, *sizes, num_warps=_WARPS)
