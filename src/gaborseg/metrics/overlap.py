"""Overlap of two label maps, from one count of voxels; maps of any space, on any device."""

from __future__ import annotations

import torch
from torch import Tensor


def confusion_counts(prediction: Tensor, target: Tensor, num_classes: int) -> Tensor:
    """Voxels of each pair of labels, (B, C, C) int64: [b, true label, predicted label].

    Args:
        prediction: Predicted label of each voxel, (B, *S), any integer type.
        target: True label of each voxel, (B, *S), any integer type.
        num_classes: C, background included.

    Raises:
        ValueError: The shapes differ or a label is outside 0 ... C - 1.
    """
    if prediction.shape != target.shape:
        raise ValueError(
            f"prediction and target must share a shape, "
            f"got {tuple(prediction.shape)} and {tuple(target.shape)}"
        )
    _check_range("prediction", prediction, num_classes)
    _check_range("target", target, num_classes)
    batch_size = len(target)
    row = torch.arange(batch_size, device=target.device).view(-1, *[1] * (target.ndim - 1))
    cell = (row * num_classes + target.long()).mul_(num_classes).add_(prediction.long())
    counts = torch.bincount(cell.flatten(), minlength=batch_size * num_classes**2)
    return counts.view(batch_size, num_classes, num_classes)


def counted_labels(
    prediction: Tensor, target: Tensor, ignore: int | None, unlabelled: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Two batches of label maps in which what nobody has labelled is background.

    So such voxels are in the volume, the overlap and the surface of no structure, and a structure
    that was not looked for is absent from both maps.

    Args:
        prediction: Predicted label of each voxel, (B, *S), 0 ... C - 1.
        target: True label of each voxel, likewise.
        ignore: The label in the target that says that a voxel has none; None: there is none.
        unlabelled: Labels of structures that were not looked for in a sample, (B, C) bool.

    Raises:
        ValueError: The shapes differ, or a predicted label is outside 0 ... C - 1.
    """
    if unlabelled is not None:
        _check_range("prediction", prediction, unlabelled.shape[1])
        hidden = unlabelled.gather(1, prediction.flatten(1).long()).view_as(prediction)
        prediction = prediction.masked_fill(hidden, 0)
    if ignore is None:
        return prediction, target
    if prediction.shape != target.shape:
        raise ValueError(
            f"prediction and target must share a shape, "
            f"got {tuple(prediction.shape)} and {tuple(target.shape)}"
        )
    unlabelled = target == ignore
    return prediction.masked_fill(unlabelled, 0), target.masked_fill(unlabelled, 0)


def dice_from_counts(counts: Tensor) -> Tensor:
    """Dice of each sample and label, (B, C) in float64, from confusion counts (B, C, C).

    NaN where a label is absent from both maps, 0 where only one of them has it.
    """
    return dice_from_sizes(counts.diagonal(dim1=-2, dim2=-1), counts.sum(-2), counts.sum(-1))


def dice_from_sizes(intersection: Tensor, predicted: Tensor, actual: Tensor) -> Tensor:
    """2 |A and B| / (|A| + |B|) in float64, any shape; NaN where both are empty.

    Args:
        intersection: Voxels that both maps give to a label.
        predicted: Voxels that the prediction gives to it.
        actual: Voxels that the truth gives to it.
    """
    return 2 * intersection.double() / (predicted + actual)


def mean_dice(dice: Tensor) -> Tensor:
    """Mean Dice, a scalar, of a table of subjects and structures (n, L).

    First over the structures of each subject, those that are NaN (absent) left out, then over the
    subjects: every subject counts the same. A subject without any structure is left out.
    """
    return dice.nanmean(dim=1).nanmean()


def structure_means(dice: Tensor) -> Tensor:
    """Mean Dice of each structure, (L,), over the subjects (n, L) that have it; NaN if none has."""
    return dice.nanmean(dim=0)


def _check_range(name: str, labels: Tensor, num_classes: int) -> None:
    if labels.numel() == 0:
        return
    low, high = (int(bound) for bound in labels.long().aminmax())
    if low < 0 or high >= num_classes:
        raise ValueError(f"{name} must lie in 0 ... {num_classes - 1}, got {low} ... {high}")
