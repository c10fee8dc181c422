"""Gabor convolution by spectra on a GPU: Fourier transforms of torch, products of Triton kernels."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gaborseg.layers.grid import without_autocast


class SpectralGpuConv3d(torch.autograd.Function):
    """'Same' zero-padded convolution with Gabor kernels: (B, I, D, H, W) -> (B, O, D, H, W).

    Computed in float32; the result has the dtype of x. Saves x and the parameters, (8, I, O), and
    makes everything else again in the backward pass.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, parameters: Tensor, kernel_size: int) -> Tensor:
        from gaborseg.gpu import spectra

        ctx.save_for_backward(x, parameters)
        ctx.kernel_size = kernel_size
        size = x.shape[2:]
        with without_autocast(x):
            given = spectra.factors(parameters, size, kernel_size)
            product = spectra.multiply(_transform(x, kernel_size), given)
            return _volumes(product, size, kernel_size, x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        from gaborseg.gpu import spectra

        x, parameters = ctx.saved_tensors
        x_wanted, parameters_wanted, _ = ctx.needs_input_grad
        size, x_grad, parameters_grad = x.shape[2:], None, None
        with without_autocast(x):
            outputs = _transform(grad, ctx.kernel_size)
            if x_wanted:
                given = spectra.factors(parameters, size, ctx.kernel_size)
                product = spectra.multiply(outputs, given, adjoint=True)
                x_grad = _volumes(product, size, ctx.kernel_size, x.dtype)
            if parameters_wanted:
                inputs = _transform(x, ctx.kernel_size)
                parameters_grad = _parameter_gradient(outputs, inputs, parameters, size, ctx)
        return x_grad, parameters_grad, None


def _transform(volumes: Tensor, kernel_size: int) -> Tensor:
    """Spectra of volumes, (B, C, N_0, N_1, N_2 // 2 + 1)."""
    from gaborseg.gpu import spectra

    period = spectra.periods(volumes.shape[2:], kernel_size)
    return torch.fft.rfftn(volumes.float(), s=period, dim=(2, 3, 4))


def _volumes(spectrum: Tensor, size: Sequence[int], kernel_size: int, dtype: torch.dtype) -> Tensor:
    """Volumes of spectra, (B, C, D, H, W)."""
    from gaborseg.gpu import spectra

    depth, height, width = size
    period = spectra.periods(size, kernel_size)
    volumes = torch.fft.irfftn(spectrum, s=period, dim=(2, 3, 4))
    return volumes[:, :, :depth, :height, :width].to(dtype).contiguous()


def _parameter_gradient(
    outputs: Tensor, inputs: Tensor, parameters: Tensor, size: Sequence[int], ctx: Any
) -> Tensor:
    """Gradient by the parameters, (8, I, O), from spectra of the outputs' gradient and inputs."""
    from gaborseg.gpu import synthesis, taps

    by_taps = taps.tap_gradient(outputs, inputs, size, ctx.kernel_size)
    return synthesis.synthesise_backward(by_taps, parameters, ctx.kernel_size)
