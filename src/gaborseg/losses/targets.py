"""Targets in the forms in which other libraries hand them over."""

import torch
from torch import Tensor

from gaborseg.losses.statistics import LabelStatistics, check_shapes, label_statistics
from gaborseg.losses.sums import check_labels
from gaborseg.native import without_extras


def softmax_statistics(logits: Tensor, target: Tensor) -> LabelStatistics:
    """Statistics of the softmax scores, (B, C) each, for a target in any of three forms.

    Args:
        logits: (B, C, *S), floating.
        target: Labels 0 ... C - 1, (B, *S) of an integer type, or (B, 1, *S) of any; or a one-hot
            map (B, C, *S).

    Raises:
        TypeError: The logits are not floating, or a target (B, *S) is not of an integer type.
        ValueError: The shapes do not belong together, or the target is neither whole labels nor
            one-hot.
        RuntimeError: A label is not of 0 ... C - 1.
    """
    return label_statistics(without_extras(logits), label_map(logits, target))


def sigmoid_statistics(logits: Tensor, target: Tensor) -> LabelStatistics:
    """Statistics of the sigmoid scores, (B, C) each: every channel is a structure of its own.

    Sigmoid is the softmax of two labels whose logits are 0 and x.

    Args:
        logits: (B, C, *S), floating.
        target: 0 or 1 for each channel, (B, C, *S), any type; or labels as for the softmax, of
            which a channel's voxels are those that have its number.

    Raises:
        TypeError: The logits are not floating, or a target (B, *S) is not of an integer type.
        ValueError: The shapes do not belong together, or a target (B, C, *S) has other values.
        RuntimeError: A label is not of 0 ... C - 1 (on a GPU it is of no channel).
    """
    logits, target = without_extras(logits), without_extras(target)
    if target.shape == logits.shape:
        channels = _binary(target)
    else:
        labels = label_map(logits, target)
        check_shapes(logits, labels)
        if not labels.is_cuda:  # there a check would wait for the device
            check_labels(labels, logits.shape[1])
        numbers = torch.arange(logits.shape[1], device=labels.device)
        channels = (labels.unsqueeze(1) == numbers.view(-1, *[1] * (labels.ndim - 1))).long()
    pairs = torch.stack((torch.zeros_like(logits), logits), dim=2)
    voxels, *sums = label_statistics(pairs.flatten(0, 1), channels.flatten(0, 1))
    return LabelStatistics(voxels, *(s[:, 1].view(logits.shape[:2]) for s in sums))


def label_map(logits: Tensor, target: Tensor) -> Tensor:
    """Label of each voxel, (B, *S), of a target in any of the three forms.

    What has another form altogether stays as it is, for the loss to refuse.

    Raises:
        ValueError: The values are neither whole labels nor one-hot.
    """
    target = without_extras(target)
    if target.ndim != logits.ndim:
        return target
    if target.shape[1] == 1 and logits.shape[1] > 1:
        return _whole(target.squeeze(1))
    if target.shape != logits.shape:
        return target
    channels = _binary(target)
    if bool((channels.sum(1) != 1).any()):
        raise ValueError(
            "target (B, C, *S) must have a single 1 in every voxel; structures that overlap need "
            "sigmoid=True"
        )
    return channels.argmax(1)


def _whole(labels: Tensor) -> Tensor:
    """Labels as integers.

    Raises:
        ValueError: One is not whole.
    """
    whole = labels.long()
    if labels.is_floating_point() and not torch.equal(whole.to(labels.dtype), labels):
        raise ValueError("target (B, 1, *S) must be of whole labels, got fractions")
    return whole


def _binary(channels: Tensor) -> Tensor:
    """Zeros and ones as integers.

    Raises:
        ValueError: There are other values.
    """
    if bool(((channels != 0) & (channels != 1)).any()):
        raise ValueError("target (B, C, *S) must be of zeros and ones")
    return channels.long()
