"""Gabor convolution and kernel synthesis as torch operators that save only their inputs.

On a CPU the operators run the native code of `csrc/`: the convolution multiplies spectra, those of
the kernels made on the fly from eight parameters a pair, and synthesis evaluates separable 1-D
factors. On a CPU without a compiler, or for a kernel larger than 11, torch does the same in float64
(`portable`); on another device, kernels are synthesised and convolved, or go by spectra as
`spectral_gpu.py` says.

Reduced precision (bfloat16, float16, autocast) is computed in float32; the result has the dtype of
the input. Float32 is computed in float64 where the pairs of channels are few: then the gradient by
a parameter may be small for all of them, a difference of terms that are hundreds of times larger.
"""

import functools
from pathlib import Path

import torch
from torch import Tensor

from gaborseg.gpu import TwinCheck, largest_difference, trusted
from gaborseg.layers.grid import check_kernel_size, check_volume
from gaborseg.layers.portable import portable_conv3d
from gaborseg.layers.separable import SeparableKernel
from gaborseg.machine import constant_when_traced
from gaborseg.native import call, native_library, refuse_forward_mode, without_extras

_LARGEST_NATIVE_KERNEL = 11
_FEW_PAIRS = 128
"""Fewer pairs of channels than these are computed in float64."""


native = functools.partial(native_library, "layers", Path(__file__).parent / "csrc")


def spectral_conv3d(x: Tensor, parameters: Tensor, kernel_size: int) -> Tensor:
    """Convolve volumes with Gabor kernels, zero padded to the same size: (B, O, D, H, W).

    Equal, to rounding, to `F.conv3d(x, synthesise(parameters, kernel_size), padding="same")`; the
    backward pass recomputes everything from x and the parameters.

    Args:
        x: Volumes on a CPU, (B, I, D, H, W), any strides.
        parameters: The eight Gabor parameters of each pair, (8, I, O), in the order of eq. (2).
        kernel_size: Odd side of the kernel, in voxels.

    Raises:
        TypeError: The volumes are not floating.
        ValueError: A shape does not fit, the volumes have no voxel, or the kernel size is not odd
            and positive.
    """
    check_parameters(parameters, kernel_size)
    check_volume(x)
    refuse_forward_mode(x, parameters)
    x = without_extras(x)
    if x.dim() != 5 or x.shape[1] != parameters.shape[1]:
        expected = f"(B, {parameters.shape[1]}, D, H, W)"
        raise ValueError(f"x must be {expected} to fit the parameters, got {tuple(x.shape)}")
    dtype = working_dtype(x, parameters)
    volumes, values = x.to(dtype), parameters.to(dtype)
    convolve = spectral_conv3d_op if _runs_natively(x, kernel_size) else portable_conv3d
    return convolve(volumes, values, kernel_size).to(x.dtype)


@constant_when_traced
def native_available() -> bool:
    """Tell whether the native code is (or can now be) compiled and loaded on this machine."""
    return native() is not None


def _runs_natively(x: Tensor, kernel_size: int) -> bool:
    """Tell whether the native operators serve this tensor."""
    return x.device.type == "cpu" and kernel_size <= _LARGEST_NATIVE_KERNEL and native_available()


def synthesises_fused(parameters: Tensor, kernel_size: int) -> bool:
    """Tell whether `synthesise_op` serves these parameters: on a CPU, and float32 on a GPU."""
    if parameters.is_cuda and parameters.dtype == torch.float32:
        return _triton_serves(kernel_size, parameters.device)
    return _runs_natively(parameters, kernel_size)


@constant_when_traced
def _triton_serves(kernel_size: int, device: torch.device) -> bool:
    """Tell whether Triton synthesises kernels on a device, where it is tried once."""
    return trusted(_synthesis_check(kernel_size), device)


@functools.cache
def _synthesis_check(kernel_size: int) -> TwinCheck:
    difference = functools.partial(_synthesis_difference, kernel_size)
    return TwinCheck("synthesis of Gabor kernels", difference, 1e-5)


def _synthesis_difference(kernel_size: int, device: torch.device) -> float:
    """How far kernels by Triton, and their gradient, are from those by torch's operators."""
    from gaborseg.gpu import synthesis  # slow to import, and of use on GPUs alone

    draw = torch.Generator().manual_seed(0)
    parameters = (torch.rand(8, 5, 7, generator=draw) + 0.3).to(device).requires_grad_()
    twin = SeparableKernel.apply(parameters, kernel_size)
    grad = twin.detach().cos()
    (by_twin,) = torch.autograd.grad(twin, parameters, grad)
    values = parameters.detach()
    kernel = synthesis.synthesise_forward(values, kernel_size)
    by_parameters = synthesis.synthesise_backward(grad, values, kernel_size)
    return largest_difference([kernel, *by_parameters], [twin.detach(), *by_twin])


def check_parameters(parameters: Tensor, kernel_size: int) -> None:
    """Raise ValueError unless parameters are (8, I, O) and the kernel size is odd and positive."""
    check_kernel_size(kernel_size)
    if parameters.dim() != 3 or parameters.shape[0] != 8:
        raise ValueError(f"parameters must be (8, I, O), got {tuple(parameters.shape)}")


def working_dtype(*tensors: Tensor) -> torch.dtype:
    """Return float64 if any tensor has it, else float32."""
    return torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32


def _exact_dtype(parameters: Tensor) -> torch.dtype:
    """Return the dtype to compute in: float64 where the pairs are few."""
    return torch.float64 if parameters[0].numel() < _FEW_PAIRS else parameters.dtype


@torch.library.custom_op("gaborseg::spectral_conv3d", mutates_args=(), device_types="cpu")
def spectral_conv3d_op(x: Tensor, parameters: Tensor, kernel_size: int) -> Tensor:
    """Run the native convolution: (B, I, D, H, W), (8, I, O) -> (B, O, D, H, W)."""
    volumes, values = (tensor.to(_exact_dtype(parameters)) for tensor in (x, parameters))
    y = volumes.new_empty(len(x), parameters.shape[2], *x.shape[2:])
    shape = _layer_shape(x, parameters, kernel_size)
    run("spectral_forward", values, shape, values.contiguous(), *_strided(volumes), y)
    return y.to(x.dtype)


@torch.library.custom_op("gaborseg::spectral_conv3d_backward", mutates_args=(), device_types="cpu")
def _spectral_conv3d_backward_op(
    grad: Tensor,
    x: Tensor,
    parameters: Tensor,
    kernel_size: int,
    x_wanted: bool,
    parameters_wanted: bool,
) -> tuple[Tensor, Tensor]:
    """Run the native gradient: of x, (B, I, D, H, W), and of the parameters, (8, I, O).

    A gradient that is not wanted is empty.
    """
    dtype = _exact_dtype(parameters)
    grad, volumes, values = (tensor.to(dtype) for tensor in (grad, x, parameters.contiguous()))
    x_grad = volumes.new_empty(x.shape if x_wanted else 0)
    parameters_grad = values.new_empty(values.shape if parameters_wanted else 0)
    shape = _layer_shape(x, parameters, kernel_size)
    tensors = (values, *_strided(volumes), *_strided(grad), x_grad, parameters_grad)
    run("spectral_backward", values, shape, (x_wanted, parameters_wanted), *tensors)
    return x_grad.to(x.dtype), parameters_grad.to(parameters.dtype)


@torch.library.custom_op("gaborseg::synthesise", mutates_args=(), device_types="cpu")
def synthesise_op(parameters: Tensor, kernel_size: int) -> Tensor:
    """Run the native synthesis: (8, I, O) -> (O, I, K, K, K)."""
    values = parameters.to(_exact_dtype(parameters)).contiguous()
    _, inputs, outputs = values.shape
    kernel = values.new_empty(outputs, inputs, kernel_size, kernel_size, kernel_size)
    run("synthesis_forward", values, (inputs, outputs, kernel_size), values, kernel)
    return kernel.to(parameters.dtype)


@torch.library.custom_op("gaborseg::synthesise_backward", mutates_args=(), device_types="cpu")
def _synthesise_backward_op(grad: Tensor, parameters: Tensor, kernel_size: int) -> Tensor:
    """Run the native gradient of synthesis: (O, I, K, K, K) -> (8, I, O)."""
    dtype = _exact_dtype(parameters)
    values, grad = parameters.to(dtype).contiguous(), grad.to(dtype).contiguous()
    parameters_grad = torch.empty_like(values)
    shape = (*values.shape[1:], kernel_size)
    run("synthesis_backward", values, shape, values, grad, parameters_grad)
    return parameters_grad.to(parameters.dtype)


@synthesise_op.register_kernel("cuda")
def _(parameters: Tensor, kernel_size: int) -> Tensor:
    from gaborseg.gpu import synthesis

    return synthesis.synthesise_forward(parameters, kernel_size)


@_synthesise_backward_op.register_kernel("cuda")
def _(grad: Tensor, parameters: Tensor, kernel_size: int) -> Tensor:
    from gaborseg.gpu import synthesis

    return synthesis.synthesise_backward(grad, parameters, kernel_size)


def _layer_shape(x: Tensor, parameters: Tensor, kernel_size: int) -> tuple[int, ...]:
    """Return what the native convolution wants to know: B, I, O, D, H, W, K."""
    return (len(x), *parameters.shape[1:], *x.shape[2:], kernel_size)


def _strided(tensor: Tensor) -> tuple[Tensor, tuple[int, ...]]:
    """Return a tensor and its strides, as two arguments of a native function."""
    return tensor, tensor.stride()


def run(name: str, kind: Tensor, *arguments: Tensor | tuple[int, ...]) -> None:
    """Call a native function in the precision of kind."""
    call(native(), name, kind.dtype, *arguments)


@spectral_conv3d_op.register_fake
def _(x: Tensor, parameters: Tensor, kernel_size: int) -> Tensor:
    return x.new_empty(x.shape[0], parameters.shape[2], *x.shape[2:])


@_spectral_conv3d_backward_op.register_fake
def _(
    grad: Tensor,
    x: Tensor,
    parameters: Tensor,
    kernel_size: int,
    x_wanted: bool,
    parameters_wanted: bool,
) -> tuple[Tensor, Tensor]:
    x_grad = x.new_empty(x.shape if x_wanted else 0)
    return x_grad, parameters.new_empty(parameters.shape if parameters_wanted else 0)


@synthesise_op.register_fake
def _(parameters: Tensor, kernel_size: int) -> Tensor:
    _, inputs, outputs = parameters.shape
    return parameters.new_empty(outputs, inputs, kernel_size, kernel_size, kernel_size)


@_synthesise_backward_op.register_fake
def _(grad: Tensor, parameters: Tensor, kernel_size: int) -> Tensor:
    return parameters.new_empty(parameters.shape)


def _save_inputs(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    """Keep the tensors given to an operator, and nothing else, for its backward pass."""
    *tensors, ctx.kernel_size = inputs
    ctx.save_for_backward(*tensors)


def _spectral_conv3d_gradient(ctx, grad):  # type: ignore[no-untyped-def]
    """Return the gradients of x, parameters and kernel_size, as far as somebody needs them."""
    wanted = ctx.needs_input_grad[:2]
    gradients = _spectral_conv3d_backward_op(grad, *ctx.saved_tensors, ctx.kernel_size, *wanted)
    x_grad, parameters_grad = (g if w else None for g, w in zip(gradients, wanted, strict=True))
    return x_grad, parameters_grad, None


def _synthesise_gradient(ctx, grad):  # type: ignore[no-untyped-def]
    """Return the gradients of parameters and kernel_size."""
    return _synthesise_backward_op(grad, *ctx.saved_tensors, ctx.kernel_size), None


spectral_conv3d_op.register_autograd(_spectral_conv3d_gradient, setup_context=_save_inputs)
synthesise_op.register_autograd(_synthesise_gradient, setup_context=_save_inputs)
