"""Dice of every subject and structure, the same whatever the number of processes."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from gaborseg.metrics.overlap import confusion_counts, dice_from_sizes


class SubjectTable:
    """Scores of subjects, one row each.

    Not a tuple: torchmetrics would squeeze the table of a single subject inside one.

    Attributes:
        subjects: Index of each subject, (n,) int64, ascending.
        dice: Dice of each subject and structure, (n, C - 1) float64 without the background; NaN
            where a structure is absent from both maps.
    """

    def __init__(self, subjects: Tensor, dice: Tensor) -> None:
        self.subjects = subjects
        self.dice = dice


class SubjectDice(Metric):
    """Collects the Dice of each subject and structure over batches and processes.

    A process may see any number of subjects, also none. A subject that several processes have
    seen (a distributed sampler repeats some to give each process the same number) counts once.

    Args:
        num_classes: Number of labels, background included, at least 2.

    Raises:
        ValueError: There are fewer than 2 labels.
    """

    higher_is_better = True
    is_differentiable = False
    full_state_update = False

    rows: list[Tensor]

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, got {num_classes}")
        self.num_classes = num_classes
        self.add_state("rows", default=[], dist_reduce_fx="cat")
        self.reset()

    def reset(self) -> None:
        """Forget all subjects."""
        super().reset()
        # A process without subjects has to join the gathering with a table of the same columns.
        columns = 1 + 3 * self.num_classes
        self.rows.append(torch.empty(0, columns, dtype=torch.int64, device=self.device))

    def update(self, prediction: Tensor, target: Tensor, subject_index: Tensor) -> None:
        """Count the voxels of one batch.

        Args:
            prediction: Predicted labels, (B, *S), any integer type, 0 ... C - 1.
            target: True labels, (B, *S), likewise.
            subject_index: Which subject each sample is, (B,), any integer type.

        Raises:
            ValueError: The shapes do not belong together or a label is out of range.
        """
        if subject_index.shape != target.shape[:1]:
            raise ValueError(
                f"subject_index must be of shape ({len(target)},), got {tuple(subject_index.shape)}"
            )
        counts = confusion_counts(prediction, target, self.num_classes)
        sizes = [counts.diagonal(dim1=1, dim2=2), counts.sum(1), counts.sum(2)]
        index = subject_index.to(counts).unsqueeze(1)
        self.rows.append(torch.cat([index, *sizes], dim=1))

    def compute(self) -> SubjectTable:
        """The table of all subjects seen by all processes, in ascending order, on the CPU."""
        rows = dim_zero_cat(self.rows).cpu().unique(dim=0)
        index = rows[:, 0]
        rows = rows[index.diff(prepend=index[:1] - 1) != 0]
        intersection, predicted, actual = rows[:, 1:].view(-1, 3, self.num_classes).unbind(1)
        return SubjectTable(rows[:, 0], dice_from_sizes(intersection, predicted, actual)[:, 1:])
