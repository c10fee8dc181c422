"""What all losses share: one call form, `loss(logits, target)`, a scalar to minimise.

The logits are (B, C, *S) and floating, the target is an integer label map (B, *S) with values
0 ... C - 1, background first. The data package checks the values once; here, where a check would
stall a GPU in every step, only shapes and types are checked, and a value out of range is a
RuntimeError on a CPU, a failed assertion on a GPU. Every loss is a mean over samples, so that one
batch of two equals two batches of one.
"""

from abc import ABC, abstractmethod
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from gaborseg.losses.statistics import LabelStatistics
from gaborseg.losses.targets import sigmoid_statistics, softmax_statistics

Reduction = Literal["mean", "sum", "none"]


class SegmentationLoss(nn.Module, ABC):
    """What all losses share: the call form, the option for the background, values per label.

    Args:
        include_background: Whether label 0 counts like any other.
    """

    def __init__(self, *, include_background: bool = True) -> None:
        super().__init__()
        self.include_background = include_background

    @abstractmethod
    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of logits (B, C, *S) against a label map (B, *S), a scalar."""

    @abstractmethod
    def per_label(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of each sample and label, (B, C), or (B, C - 1) without the background."""

    def extra_repr(self) -> str:
        """What `print` shows between the brackets."""
        return f"include_background={self.include_background}"

    def counted(self, per_label: Tensor) -> Tensor:
        """The columns of a (B, C) table that count."""
        return per_label if self.include_background else per_label[:, 1:]


class StatisticsLoss(SegmentationLoss):
    """A loss computed from sums over the volume alone, called `loss(logits, target)`.

    A loss of your own is a subclass with `from_statistics`: the value of each sample and label from
    their `LabelStatistics`. The mean over labels and samples is the loss.

    Args:
        include_background: Whether label 0 counts like any other.
        sigmoid: Scores are the sigmoid of each channel, for structures that may overlap, instead of
            the softmax over all; channel 0 is then the background only by name.
        reduction: `"mean"` or `"sum"` over samples and labels, or `"none"`: the table of them.

    Shape:
        Logits (B, C, *S), of any real value, and labels (B, *S), integers 0 ... C - 1 -> a scalar
        in at least float32, or with `reduction="none"` (B, C), (B, C - 1) without the background.
        Labels may also be (B, 1, *S), or one-hot (B, C, *S), as MONAI has them; to check these
        takes time on a GPU.

    Raises:
        TypeError: The logits are not floating, or the target is not of an integer type.
        ValueError: The shapes do not belong together, or there is no such reduction.
        RuntimeError: A label is not of 0 ... C - 1 (on a GPU a failed assertion).

    Example:
        >>> class VolumeLoss(StatisticsLoss):
        ...     def from_statistics(self, statistics):
        ...         return (statistics.mean_p - statistics.mean_y).abs()
        >>> VolumeLoss()(torch.zeros(1, 2, 4, 4, 4), torch.zeros(1, 4, 4, 4, dtype=torch.long))
        tensor(0.5000)
    """

    def __init__(
        self,
        *,
        include_background: bool = True,
        sigmoid: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(include_background=include_background)
        if reduction not in get_args(Reduction):
            told = ", ".join(get_args(Reduction))
            raise ValueError(f"reduction must be one of {told}, got {reduction!r}")
        self.sigmoid = sigmoid
        self.reduction = reduction

    @abstractmethod
    def from_statistics(self, statistics: LabelStatistics) -> Tensor:
        """The loss of each sample and label, (B, C)."""

    def mean(self, statistics: LabelStatistics) -> Tensor:
        """The loss of the whole batch, a scalar: the mean over samples and labels that count."""
        return self.counted(self.from_statistics(statistics)).mean()

    def statistics(self, logits: Tensor, target: Tensor) -> LabelStatistics:
        """Sums over space of the scores of logits (B, C, *S) and of their target."""
        make = sigmoid_statistics if self.sigmoid else softmax_statistics
        return make(logits, target)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of logits (B, C, *S) against a label map (B, *S), at least float32."""
        statistics = self.statistics(logits, target)
        if self.reduction == "mean":
            return self.mean(statistics).to(_result_dtype(logits))
        table = self.counted(self.from_statistics(statistics)).to(_result_dtype(logits))
        return table.sum() if self.reduction == "sum" else table

    def per_label(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of each sample and label, (B, C), or (B, C - 1) without the background."""
        values = self.from_statistics(self.statistics(logits, target))
        return self.counted(values).to(_result_dtype(logits))

    def extra_repr(self) -> str:
        """What `print` shows between the brackets."""
        sigmoid = ", sigmoid=True" if self.sigmoid else ""
        reduction = f", reduction={self.reduction!r}" if self.reduction != "mean" else ""
        return f"{super().extra_repr()}{sigmoid}{reduction}"


def positive(name: str, value: float) -> float:
    """The value of an argument.

    Raises:
        ValueError: It is not positive.
    """
    if value > 0:
        return value
    raise ValueError(f"{name} must be positive, got {value}")


def _result_dtype(logits: Tensor) -> torch.dtype:
    """The dtype of a loss: that of the logits, but at least float32."""
    return torch.promote_types(logits.dtype, torch.float32)
