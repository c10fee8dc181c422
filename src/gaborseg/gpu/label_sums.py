"""The sums that the losses know of a volume, and its log-likelihood: one pass over the logits.

A program takes a few voxels of all labels at a time and keeps their softmax in registers. Nothing
is written but the result; the backward pass computes the scores again. `losses/slabs.py` computes
the same in torch.

Scores are float32. Their sums are float64: variances and covariances are small differences of
them. Each program has its own sums, and torch adds them up, always in the same order.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gaborseg.gpu.sizes import next_power_of_2

MOST_LABELS = 256
"""With more, too few voxels fit into the registers of a program."""

_SUMS = 5
_SCORES = 4096
"""Scores that a program has in registers: 32 of each thread."""

_WARPS = 4
_SUMMED, _WRITTEN = 2**16, 2**14
"""Scores, with those of padding labels, that a program adds up, and whose gradient it writes."""

_OPTIONS = {"num_warps": _WARPS, "debug": True, "sanitize_overflow": False}
"""Of the kernels that read labels: `debug` lets them assert that each label exists."""


def sums_forward(logits: Tensor, target: Tensor) -> Tensor:
    """Sums of p, p^2, p y, y and y ln p over space, (5, B, C) in float64.

    Args:
        logits: (B, C, N), at most `MOST_LABELS` labels, float32 or half precision, on a GPU.
        target: Label of each voxel, (B, N), any integer type. One that does not exist fails an
            assertion on the GPU.
    """
    from gaborseg.gpu.kernels import label_sums as kernels  # slow to import, for GPUs alone

    logits, target = logits.contiguous(), target.contiguous()
    samples, labels, voxels = logits.shape
    shape = _shape(labels, _SUMMED)
    chunks = -(-voxels // (shape[1] * shape[2]))
    parts = logits.new_empty(_SUMS, samples, chunks, labels, dtype=torch.float64)
    _launch(kernels.sums_kernel, chunks, logits, target, parts, voxels, labels, *shape)
    return parts.sum(2)


def sums_backward(grad: Tensor, logits: Tensor, target: Tensor) -> Tensor:
    """Return the gradient of the logits, (B, C, N), in their dtype.

    Args:
        grad: Gradient of the sums, (5, B, C) in float64, by q = k p instead of p; k is where the
            gradient of the sum of y would be, see `losses/slabs.py`.
        logits: (B, C, N).
        target: (B, N).
    """
    from gaborseg.gpu.kernels import label_sums as kernels

    logits, target, grad = logits.contiguous(), target.contiguous(), grad.contiguous()
    return _gradient(kernels.sums_gradient_kernel, grad, logits, target)


def likelihood_forward(logits: Tensor, target: Tensor) -> Tensor:
    """Log-softmax at the target, (B, N) in float32; for the arguments see `sums_forward`."""
    from gaborseg.gpu.kernels import label_sums as kernels

    logits, target = logits.contiguous(), target.contiguous()
    samples, labels, voxels = logits.shape
    result = logits.new_empty(samples, voxels, dtype=torch.float32)
    shape = _shape(labels, _WRITTEN)
    chunks = -(-voxels // (shape[1] * shape[2]))
    _launch(kernels.likelihood_kernel, chunks, logits, target, result, voxels, labels, *shape)
    return result


def likelihood_backward(grad: Tensor, logits: Tensor, target: Tensor) -> Tensor:
    """Return the gradient of the log-softmax: (B, N), (B, C, N), (B, N) -> (B, C, N)."""
    from gaborseg.gpu.kernels import label_sums as kernels

    logits, target, grad = logits.contiguous(), target.contiguous(), grad.contiguous()
    return _gradient(kernels.likelihood_gradient_kernel, grad, logits, target)


def _gradient(kernel: Any, grad: Tensor, logits: Tensor, target: Tensor) -> Tensor:
    """Let a kernel write the gradient of the logits, in their dtype."""
    result = torch.empty_like(logits)
    _, labels, voxels = logits.shape
    shape = _shape(labels, _WRITTEN)
    chunks = -(-voxels // (shape[1] * shape[2]))
    _launch(kernel, chunks, logits, target, grad, result, voxels, labels, *shape)
    return result


def _shape(labels: int, scores: int) -> tuple[int, int, int]:
    """Return padded number of labels, voxels at once, and how often, for a program's scores."""
    side = next_power_of_2(labels)
    return side, _SCORES // side, scores // _SCORES


def _launch(kernel: Any, chunks: int, logits: Tensor, *arguments: Any) -> None:
    """Run a kernel over all chunks of all samples, on the device of the logits."""
    if chunks and len(logits):
        with torch.cuda.device_of(logits):
            kernel[chunks, len(logits)](logits, *arguments, **_OPTIONS)
