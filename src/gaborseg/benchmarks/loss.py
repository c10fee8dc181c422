"""Losses forward and backward, against one-hot volumes and other libraries."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gaborseg.benchmarks.memory import extra_peak_memory
from gaborseg.benchmarks.options import Benchmark, at_least
from gaborseg.benchmarks.plain import one_hot_pcc
from gaborseg.benchmarks.report import Cell, Table
from gaborseg.benchmarks.timing import interleave
from gaborseg.losses import CCCLoss, CrossEntropyLoss, DiceCELoss, DiceLoss, PCCLoss

_NUM_CLASSES = 20
_BASELINE = "PCC, one-hot"

_Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class LossBenchmark(Benchmark):
    """Time and memory of the losses.

    Attributes:
        size: Side of the volume, in voxels.

    Raises:
        ValueError: An option is out of range.
    """

    size: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("size", self.size, 1)

    def tables(self) -> list[Table]:
        """Measure every loss on one random volume."""
        space = (self.size,) * 3
        logits = torch.randn(1, _NUM_CLASSES, *space, requires_grad=True)
        target = torch.randint(_NUM_CLASSES, (1, *space))
        calls = {name: _forward_backward(loss, logits, target) for name, loss in losses().items()}
        memory = {name: extra_peak_memory(call) for name, call in calls.items()}
        timings = interleave(calls, self.repeats)
        rows: list[dict[str, Cell]] = [
            {
                "loss": name,
                "time [ms]": timings[name].spread.scaled(1e3),
                f"{_BASELINE} / this": timings[_BASELINE].ratio(timings[name]),
                "extra memory [MiB]": memory[name],
                f"memory of {_BASELINE} / this": _quotient(memory[_BASELINE], memory[name]),
            }
            for name in calls
        ]
        title = f"Losses of {_NUM_CLASSES} x {self.size}³, float32, batch 1, forward and backward"
        return [Table(title, rows)]


def losses() -> dict[str, _Loss]:
    """The losses to compare, by name; MONAI's if it is installed."""
    pcc = PCCLoss()
    return {
        "PCC": pcc,
        _BASELINE: one_hot_pcc,
        "CCC": CCCLoss(),
        "Dice": DiceLoss(),
        "cross-entropy": CrossEntropyLoss(),
        "cross-entropy, torch": F.cross_entropy,
        "Dice + cross-entropy": DiceCELoss(),
        **(_monai_losses() if find_spec("monai") else {}),
        "PCC, again": pcc,
    }


def _monai_losses() -> dict[str, _Loss]:
    """MONAI's losses of the same logits and label map."""
    from monai import losses as monai

    def with_channel(loss: _Loss) -> _Loss:
        return lambda logits, target: loss(logits, target.unsqueeze(1))

    options: dict[str, Any] = {"softmax": True, "to_onehot_y": True}
    return {
        "Dice, MONAI": with_channel(monai.DiceLoss(**options)),
        "Dice + cross-entropy, MONAI": with_channel(monai.DiceCELoss(**options)),
    }


def _forward_backward(loss: _Loss, logits: Tensor, target: Tensor) -> Callable[[], object]:
    """A call that computes a loss and its gradient by the logits."""
    return lambda: torch.autograd.grad(loss(logits, target), logits)


def _quotient(above: float | None, below: float | None) -> float | None:
    """One measurement over another, if there are both."""
    return above / below if above and below else None
