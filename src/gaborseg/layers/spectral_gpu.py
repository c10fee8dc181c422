"""Gabor convolution by spectra on a GPU: transforms of torch, products of Triton kernels."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gaborseg.gpu import Convolution, TwinCheck, largest_difference, precision_of, trusted, way
from gaborseg.layers.grid import without_autocast
from gaborseg.layers.portable import portable_conv3d

_LARGEST_KERNEL = 11


def spectral_gpu_conv3d(x: Tensor, parameters: Tensor, kernel_size: int) -> Tensor:
    """'Same' zero-padded convolution with Gabor kernels, (B, I, D, H, W) -> (B, O, D, H, W).

    Args:
        x: Volumes on a GPU, float32 or of fewer digits.
        parameters: The eight Gabor parameters of each pair, (8, I, O).
        kernel_size: Odd side of the kernel, in voxels, up to 11.
    """
    volumes: Tensor = SpectralGpuConv3d.apply(x.to(_dtype(x)), parameters.float(), kernel_size)
    return volumes


def goes_by_spectra(x: Tensor, parameters: Tensor, kernel_size: int) -> bool:
    """Tell whether spectra were measured to be the faster way on the card, and are right there.

    Under `torch.compile` they are not asked for: it would have to follow how choices are read.
    """
    if not x.is_cuda or x.ndim != 5 or x.dtype == torch.float64 or torch.compiler.is_compiling():
        return False
    if kernel_size > _LARGEST_KERNEL:
        return False
    _, inputs, outputs = parameters.shape
    precision = precision_of(torch.empty((), dtype=_dtype(x)))
    convolution = Convolution(len(x), inputs, outputs, tuple(x.shape[2:]), kernel_size, precision)
    return way(convolution, x.device) == "spectral" and trusted(_CHECK, x.device)


def _dtype(x: Tensor) -> torch.dtype:
    """The dtype in which a convolution of these volumes is asked for."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


class SpectralGpuConv3d(torch.autograd.Function):
    """'Same' zero-padded convolution with Gabor kernels: (B, I, D, H, W) -> (B, O, D, H, W).

    Computed in float32; the result has the dtype of x. Saves the spectra of x and the parameters,
    (8, I, O); those of the kernels are made again in the backward pass. The gradient by the
    parameters is float32's where x is, and has eleven digits where x has fewer.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, parameters: Tensor, kernel_size: int) -> Tensor:
        from gaborseg.gpu import spectra

        ctx.size, ctx.kernel_size, ctx.dtype = x.shape[2:], kernel_size, x.dtype
        with without_autocast(x):
            inputs = _transform(x, kernel_size)
            given = spectra.factors(parameters, ctx.size, kernel_size)
            ctx.save_for_backward(inputs, parameters)
            return _volumes(spectra.multiply(inputs, given), ctx)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        from gaborseg.gpu import spectra

        inputs, parameters = ctx.saved_tensors
        x_wanted, parameters_wanted, _ = ctx.needs_input_grad
        x_grad, parameters_grad = None, None
        with without_autocast(grad):
            outputs = _transform(grad, ctx.kernel_size)
            if x_wanted:
                given = spectra.factors(parameters, ctx.size, ctx.kernel_size)
                x_grad = _volumes(spectra.multiply(outputs, given, adjoint=True), ctx)
            if parameters_wanted:
                parameters_grad = _parameter_gradient(outputs, inputs, parameters, ctx)
        return x_grad, parameters_grad, None


def _transform(volumes: Tensor, kernel_size: int) -> Tensor:
    """Spectra of volumes, (B, C, N_0, N_1, N_2 // 2 + 1)."""
    from gaborseg.gpu import spectra

    period = spectra.periods(volumes.shape[2:], kernel_size)
    return torch.fft.rfftn(volumes.float(), s=period, dim=(2, 3, 4))


def _volumes(spectrum: Tensor, ctx: Any) -> Tensor:
    """Volumes of spectra, (B, C, D, H, W)."""
    from gaborseg.gpu import spectra

    depth, height, width = ctx.size
    period = spectra.periods(ctx.size, ctx.kernel_size)
    volumes = torch.fft.irfftn(spectrum, s=period, dim=(2, 3, 4))
    return volumes[:, :, :depth, :height, :width].to(ctx.dtype).contiguous()


def _parameter_gradient(outputs: Tensor, inputs: Tensor, parameters: Tensor, ctx: Any) -> Tensor:
    """Gradient by the parameters, (8, I, O), from spectra of the outputs' gradient and inputs."""
    from gaborseg.gpu import synthesis, taps

    exact = ctx.dtype == torch.float32
    by_taps = taps.tap_gradient(outputs, inputs, ctx.size, ctx.kernel_size, exact=exact)
    return synthesis.synthesise_backward(by_taps, parameters, ctx.kernel_size)


def _difference(device: torch.device) -> float:
    """The largest difference between spectra by Triton and by torch, gradients included."""
    draw = torch.Generator().manual_seed(0)
    size = (20, 18, 24) if device.type == "cuda" else (5, 4, 6)  # the interpreter is slow
    x = torch.randn(2, 2, *size, generator=draw)
    parameters = torch.rand(8, 2, 3, generator=draw) + 0.3
    ours, twin = (
        _all_results(convolve, x.to(device), parameters.to(device))
        for convolve in (SpectralGpuConv3d.apply, portable_conv3d)
    )
    return largest_difference(ours, twin)


def _all_results(convolve: Any, x: Tensor, parameters: Tensor) -> list[Tensor]:
    """A convolution's volumes, and its gradients by x and by each kind of parameter."""
    leaves = x.requires_grad_(), parameters.requires_grad_()
    y = convolve(*leaves, 7)
    by_x, by_parameters = torch.autograd.grad(y, leaves, torch.cos(y.detach()))
    return [y.detach(), by_x, *by_parameters]


_CHECK = TwinCheck("Gabor convolution by spectra", _difference, 1e-5)
