"""Dice of every structure of a case, from two label maps."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor
from torchmetrics.segmentation import DiceScore

from src.benchmarks.options import Benchmark
from src.benchmarks.report import Cell, Table
from src.benchmarks.timing import interleave
from src.metrics import confusion_counts, dice_from_counts

NUM_CLASSES = 20
BLOCK = 8
"""Side of the cubes of one label, in voxels: neighbours mostly agree, as in a brain."""

Score = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class MetricsBenchmark(Benchmark):
    """Dice of a case.

    Attributes:
        size: Side of the label maps, in voxels, a multiple of 8.

    Raises:
        ValueError: An option is out of range.
    """

    size: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size < BLOCK or self.size % BLOCK:
            raise ValueError(f"size must be a multiple of {BLOCK}, got {self.size}")

    def tables(self) -> list[Table]:
        """Time every way on one pair of label maps."""
        maps = label_maps(self.size)
        timings = interleave(
            {name: partial(score, *maps) for name, score in scores().items()}, self.repeats
        )
        rows: list[dict[str, Cell]] = [
            {
                "Dice": name,
                "time [ms]": timing.spread.scaled(1e3),
                "time / this": timing.ratio(timings["this"]),
            }
            for name, timing in timings.items()
        ]
        return [Table(f"Dice of {NUM_CLASSES} labels in a case of {self.size}³", rows)]


def label_maps(size: int) -> tuple[Tensor, Tensor]:
    """A prediction and a truth, (1, *S): random cubes, moved by a voxel in the prediction."""
    target = torch.randint(NUM_CLASSES, (1, *(size // BLOCK,) * 3))
    for axis in (1, 2, 3):
        target = target.repeat_interleave(BLOCK, dim=axis)
    return target.roll(1, dims=1), target


def scores() -> dict[str, Score]:
    """Ways to the Dice of each label, (1, C), by name; MONAI's if it is installed."""
    return {
        "this": dice_of_counts,
        "torchmetrics' DiceScore": torchmetrics_dice,
        **({"MONAI's DiceMetric": monai_dice} if find_spec("monai") else {}),
        "this, again": dice_of_counts,
    }


def dice_of_counts(prediction: Tensor, target: Tensor) -> Tensor:
    """Dice from one count of voxels."""
    return dice_from_counts(confusion_counts(prediction, target, NUM_CLASSES))


def torchmetrics_dice(prediction: Tensor, target: Tensor) -> Tensor:
    """Dice by torchmetrics."""
    metric = DiceScore(NUM_CLASSES, average="none", input_format="index")
    return metric(prediction, target).view(1, -1)


def monai_dice(prediction: Tensor, target: Tensor) -> Tensor:
    """Dice by MONAI."""
    from monai.metrics import DiceMetric

    metric = DiceMetric(reduction="none", num_classes=NUM_CLASSES)
    return torch.as_tensor(metric(prediction.unsqueeze(1), target.unsqueeze(1)))
