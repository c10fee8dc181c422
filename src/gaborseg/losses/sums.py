"""Sums of scores and labels over space: one operator, in native code where that can be.

On a CPU the operator runs the code of `csrc/`: it reads the logits once, keeps the scores of a few
voxels at a time, and saves nothing but its arguments. On a GPU Triton kernels do the same
(`on_gpu.py`). Everywhere else (another device, no compiler) the same sums come from pure torch,
slab by slab.
"""

import functools
from pathlib import Path

import torch
from torch import Tensor

from gaborseg.losses.slabs import SlabSums, scaled_gradient
from gaborseg.machine import constant_when_traced
from gaborseg.native import call, native_library, refuse_forward_mode

_SUMS = 5
_COUNT = 3  # the place of the sum of y

native = functools.partial(native_library, "losses", Path(__file__).parent / "csrc")


def label_sums(logits: Tensor, target: Tensor) -> Tensor:
    """Sums of p, p^2, p y, y and y ln p over space: (5, B, C) in float64.

    p is the softmax score, in at least float32; y is 1 in the label's own voxels and else 0.

    Args:
        logits: (B, C, *S), floating.
        target: Label of each voxel, (B, *S), any integer type.

    Raises:
        RuntimeError: A label is not of 0 ... C - 1.
    """
    refuse_forward_mode(logits)
    if logits.device.type == "cpu" and native_available():
        wide = torch.promote_types(logits.dtype, torch.float32)
        return label_sums_op(logits.to(wide), target)
    if logits.is_cuda:
        from gaborseg.losses.on_gpu import gpu_sums  # slow to import, and of use on GPUs alone

        return gpu_sums(logits, target)
    return SlabSums.apply(logits, target)


def check_labels(target: Tensor, num_labels: int) -> None:
    """Raise RuntimeError unless all labels of a target are of 0 ... C - 1."""
    lowest, highest = (int(bound) for bound in torch.aminmax(target.long()))
    if lowest < 0 or highest >= num_labels:
        found = lowest if lowest < 0 else highest
        raise RuntimeError(
            f"label out of bounds: target must be of 0 ... {num_labels - 1}, got {found}"
        )


@constant_when_traced
def native_available() -> bool:
    """Tell whether the native code is (or can now be) compiled and loaded on this machine."""
    return native() is not None


@torch.library.custom_op("gaborseg::label_sums", mutates_args=(), device_types="cpu")
def label_sums_op(logits: Tensor, target: Tensor) -> Tensor:
    """Run the native sums: (B, C, *S), (B, *S) -> (5, B, C)."""
    samples, labels = logits.shape[:2]
    sums = logits.new_zeros(_SUMS, samples, labels, dtype=torch.float64)
    call(native(), "label_sums", logits.dtype, *flattened(logits, target), sums)
    if sums[_COUNT].sum() != target.numel():  # the native code leaves out what has no such label
        check_labels(target, labels)
    return sums


@torch.library.custom_op("gaborseg::label_sums_backward", mutates_args=(), device_types="cpu")
def _label_sums_backward_op(sums_grad: Tensor, logits: Tensor, target: Tensor) -> Tensor:
    """Run the native gradient: (5, B, C), (B, C, *S), (B, *S) -> (B, C, *S)."""
    grad = logits.new_empty(logits.shape)
    arguments = (*flattened(logits, target), scaled_gradient(sums_grad).contiguous(), grad)
    call(native(), "label_sums_backward", logits.dtype, *arguments)
    return grad


def flattened(logits: Tensor, target: Tensor) -> tuple[tuple[int, int, int], Tensor, Tensor]:
    """Return what the native code reads: B, C and N, the logits, and the labels as int64."""
    shape = (*logits.shape[:2], logits.shape[2:].numel())
    return shape, logits.contiguous(), target.long().contiguous()


@label_sums_op.register_fake
def _(logits: Tensor, target: Tensor) -> Tensor:
    return logits.new_empty(_SUMS, *logits.shape[:2], dtype=torch.float64)


@_label_sums_backward_op.register_fake
def _(sums_grad: Tensor, logits: Tensor, target: Tensor) -> Tensor:
    return logits.new_empty(logits.shape)


def _save_inputs(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    """Keep the logits and the target, and nothing else, for the backward pass."""
    ctx.save_for_backward(*inputs)


def _label_sums_gradient(ctx, sums_grad):  # type: ignore[no-untyped-def]
    """Return the gradients of logits and target."""
    return _label_sums_backward_op(sums_grad, *ctx.saved_tensors), None


label_sums_op.register_autograd(_label_sums_gradient, setup_context=_save_inputs)
