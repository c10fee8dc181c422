"""Gabor convolution and kernel synthesis as torch operators that save only their inputs.

On a CPU the operators run the native code of `csrc/`: the convolution multiplies spectra, those of
the kernels made on the fly from eight parameters a pair, and synthesis evaluates separable 1-D
factors. Everywhere else (another device, no compiler, a kernel larger than 11) the same values come
from pure torch.

Reduced precision (bfloat16, float16, autocast) is computed in float32; the result has the dtype of
the input.
"""

import functools
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from src.kernels.gabor import gabor_kernel
from src.kernels.grid import check_kernel_size
from src.native import call, native_library

__all__ = ["native_available", "runs_natively", "spectral_conv3d", "synthesise"]

LARGEST_NATIVE_KERNEL = 11

native = functools.partial(native_library, "layers", Path(__file__).parent / "csrc")


def spectral_conv3d(x: Tensor, parameters: Tensor, kernel_size: int) -> Tensor:
    """Convolve volumes with Gabor kernels, zero padded to the same size: (B, O, D, H, W).

    Equal, to rounding, to `F.conv3d(x, synthesise(parameters, kernel_size), padding="same")`; the
    backward pass recomputes everything from x and the parameters.

    Args:
        x: Volumes, (B, I, D, H, W), any strides.
        parameters: The eight Gabor parameters of each pair, (8, I, O), in the order of eq. (2).
        kernel_size: Odd side of the kernel, in voxels.

    Raises:
        ValueError: A shape does not fit, or the kernel size is not odd and positive.
    """
    check(parameters, kernel_size)
    if x.dim() != 5 or x.shape[1] != parameters.shape[1]:
        expected = f"(B, {parameters.shape[1]}, D, H, W)"
        raise ValueError(f"x must be {expected} to fit the parameters, got {tuple(x.shape)}")
    dtype = working_dtype(x, parameters)
    volumes, values = x.to(dtype), parameters.to(dtype)
    if runs_natively(x, kernel_size):
        return spectral_conv3d_op(volumes, values, kernel_size).to(x.dtype)
    with torch.autocast(x.device.type, enabled=False):
        kernel = gabor_kernel(values, kernel_size)
        return F.conv3d(volumes, kernel, padding=kernel_size // 2).to(x.dtype)


def synthesise(parameters: Tensor, kernel_size: int) -> Tensor:
    """Evaluate Gabor kernels from their eight parameters, eq. (2): (8, I, O) -> (O, I, K, K, K).

    Args:
        parameters: The eight Gabor parameters of each pair, (8, I, O).
        kernel_size: Odd side of the kernel, in voxels.

    Raises:
        ValueError: The parameters are not (8, I, O), or the kernel size is not odd and positive.
    """
    check(parameters, kernel_size)
    values = parameters.to(working_dtype(parameters))
    if runs_natively(parameters, kernel_size) or runs_fused(values, kernel_size):
        return synthesise_op(values, kernel_size).to(parameters.dtype)
    with torch.autocast(parameters.device.type, enabled=False):
        return gabor_kernel(values, kernel_size).to(parameters.dtype)


@torch.compiler.assume_constant_result
def native_available() -> bool:
    """Tell whether the native code is (or can now be) compiled and loaded on this machine."""
    return native() is not None


def runs_natively(x: Tensor, kernel_size: int) -> bool:
    """Tell whether the native operators serve this tensor."""
    return x.device.type == "cpu" and kernel_size <= LARGEST_NATIVE_KERNEL and native_available()


def runs_fused(parameters: Tensor, kernel_size: int) -> bool:
    """Tell whether the fused Triton kernels serve these parameters: float32 on a CUDA device."""
    fits = parameters.is_cuda and parameters.dtype == torch.float32
    return fits and triton_serves(kernel_size, parameters.device)


@torch.compiler.assume_constant_result
def triton_serves(kernel_size: int, device: torch.device) -> bool:
    """Tell whether Triton can serve a device, on which it is tried once."""
    from src.layers import triton_synthesis  # slow to import, and of use on GPUs alone

    return triton_synthesis.triton_serves(kernel_size, device)


def check(parameters: Tensor, kernel_size: int) -> None:
    """Raise ValueError unless parameters are (8, I, O) and the kernel size is odd and positive."""
    check_kernel_size(kernel_size)
    if parameters.dim() != 3 or parameters.shape[0] != 8:
        raise ValueError(f"parameters must be (8, I, O), got {tuple(parameters.shape)}")


def working_dtype(*tensors: Tensor) -> torch.dtype:
    """Return float64 if any tensor has it, else float32."""
    return torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32


@torch.library.custom_op("gaborseg::spectral_conv3d", mutates_args=(), device_types="cpu")
def spectral_conv3d_op(x: Tensor, parameters: Tensor, kernel_size: int) -> Tensor:
    """Run the native convolution: (B, I, D, H, W), (8, I, O) -> (B, O, D, H, W)."""
    parameters = parameters.contiguous()
    y = x.new_empty(len(x), parameters.shape[2], *x.shape[2:])
    shape = layer_shape(x, parameters, kernel_size)
    run("spectral_forward", x, shape, parameters, *strided(x), y)
    return y


@torch.library.custom_op("gaborseg::spectral_conv3d_backward", mutates_args=(), device_types="cpu")
def spectral_conv3d_backward_op(
    grad: Tensor, x: Tensor, parameters: Tensor, kernel_size: int
) -> tuple[Tensor, Tensor]:
    """Run the native gradient: of x, (B, I, D, H, W), and of the parameters, (8, I, O)."""
    parameters = parameters.contiguous()
    x_grad, parameters_grad = x.new_empty(x.shape), torch.empty_like(parameters)
    shape = layer_shape(x, parameters, kernel_size)
    tensors = (*strided(x), *strided(grad), x_grad, parameters_grad)
    run("spectral_backward", x, shape, parameters, *tensors)
    return x_grad, parameters_grad


@torch.library.custom_op("gaborseg::synthesise", mutates_args=(), device_types="cpu")
def synthesise_op(parameters: Tensor, kernel_size: int) -> Tensor:
    """Run the native synthesis: (8, I, O) -> (O, I, K, K, K)."""
    parameters = parameters.contiguous()
    _, inputs, outputs = parameters.shape
    kernel = parameters.new_empty(outputs, inputs, kernel_size, kernel_size, kernel_size)
    run("synthesis_forward", parameters, (inputs, outputs, kernel_size), parameters, kernel)
    return kernel


@torch.library.custom_op("gaborseg::synthesise_backward", mutates_args=(), device_types="cpu")
def synthesise_backward_op(grad: Tensor, parameters: Tensor, kernel_size: int) -> Tensor:
    """Run the native gradient of synthesis: (O, I, K, K, K) -> (8, I, O)."""
    parameters, grad = parameters.contiguous(), grad.contiguous()
    parameters_grad = torch.empty_like(parameters)
    shape = (*parameters.shape[1:], kernel_size)
    run("synthesis_backward", parameters, shape, parameters, grad, parameters_grad)
    return parameters_grad


@synthesise_op.register_kernel("cuda")
def _(parameters: Tensor, kernel_size: int) -> Tensor:
    from src.layers import triton_synthesis

    return triton_synthesis.synthesise_forward(parameters, kernel_size)


@synthesise_backward_op.register_kernel("cuda")
def _(grad: Tensor, parameters: Tensor, kernel_size: int) -> Tensor:
    from src.layers import triton_synthesis

    return triton_synthesis.synthesise_backward(grad, parameters, kernel_size)


def layer_shape(x: Tensor, parameters: Tensor, kernel_size: int) -> tuple[int, ...]:
    """Return what the native convolution wants to know: B, I, O, D, H, W, K."""
    return (len(x), *parameters.shape[1:], *x.shape[2:], kernel_size)


def strided(tensor: Tensor) -> tuple[Tensor, tuple[int, ...]]:
    """Return a tensor and its strides, as two arguments of a native function."""
    return tensor, tensor.stride()


def run(name: str, kind: Tensor, *arguments: Tensor | tuple[int, ...]) -> None:
    """Call a native function in the precision of kind."""
    call(native(), name, kind.dtype, *arguments)


@spectral_conv3d_op.register_fake
def _(x: Tensor, parameters: Tensor, kernel_size: int) -> Tensor:
    return x.new_empty(x.shape[0], parameters.shape[2], *x.shape[2:])


@spectral_conv3d_backward_op.register_fake
def _(grad: Tensor, x: Tensor, parameters: Tensor, kernel_size: int) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), parameters.new_empty(parameters.shape)


@synthesise_op.register_fake
def _(parameters: Tensor, kernel_size: int) -> Tensor:
    _, inputs, outputs = parameters.shape
    return parameters.new_empty(outputs, inputs, kernel_size, kernel_size, kernel_size)


@synthesise_backward_op.register_fake
def _(grad: Tensor, parameters: Tensor, kernel_size: int) -> Tensor:
    return parameters.new_empty(parameters.shape)


def save_inputs(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    """Keep the tensors given to an operator, and nothing else, for its backward pass."""
    *tensors, ctx.kernel_size = inputs
    ctx.save_for_backward(*tensors)


def spectral_conv3d_gradient(ctx, grad):  # type: ignore[no-untyped-def]
    """Return the gradients of x, parameters and kernel_size."""
    return *spectral_conv3d_backward_op(grad, *ctx.saved_tensors, ctx.kernel_size), None


def synthesise_gradient(ctx, grad):  # type: ignore[no-untyped-def]
    """Return the gradients of parameters and kernel_size."""
    return synthesise_backward_op(grad, *ctx.saved_tensors, ctx.kernel_size), None


spectral_conv3d_op.register_autograd(spectral_conv3d_gradient, setup_context=save_inputs)
synthesise_op.register_autograd(synthesise_gradient, setup_context=save_inputs)
