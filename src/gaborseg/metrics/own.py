"""Metrics of the user's own, on the label maps of whole subjects."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from gaborseg.metrics.overlap import counted_labels

_TAKEN = ("dice", "loss", "hd95", "nsd")
_NAME = re.compile(r"\w[\w-]*")


class OwnMetrics:
    """Numbers that metrics of torchmetrics give of predictions and truths, by name.

    Each metric is called as ``update(prediction, target)``, for the subjects one after the other,
    with label maps of (1, D, H, W) int64, 0 ... C - 1, and gives one number for all of them; of
    several processes, for the subjects of all. Where voxels are ignored, it gets those that are
    not, as (1, n), in the order of the volume. A structure that nobody has looked for in a subject
    is in neither of its maps.

    It is not a module: what a metric holds is in no checkpoint and in no optimiser.

    Args:
        metrics: What is called, by name; letters, digits, ``_`` and ``-``.
        ignore: Label of voxels that nobody has labelled; None: there are none.

    Raises:
        ValueError: A name has other characters, or is that of a score that is always logged.

    Example:
        >>> import torch
        >>> from torchmetrics.classification import MulticlassAccuracy
        >>> from gaborseg.metrics import OwnMetrics
        >>> own = OwnMetrics({"hits": MulticlassAccuracy(3, average="micro")}, ignore=255)
        >>> own.update(torch.tensor([[0, 1, 1, 0]]), torch.tensor([[0, 1, 2, 255]]))
        >>> own.compute()
        {'hits': tensor(0.6667)}
    """

    def __init__(self, metrics: Mapping[str, Metric], ignore: int | None = None) -> None:
        for name in metrics:
            if name in _TAKEN or not _NAME.fullmatch(name):
                raise ValueError(
                    f"metrics must have names of letters, digits, _ and - other than "
                    f"{', '.join(_TAKEN)}, got {name}"
                )
        self._metrics = dict(metrics)
        self._ignore = ignore

    @property
    def names(self) -> tuple[str, ...]:
        """What the metrics are called."""
        return tuple(self._metrics)

    def update(self, prediction: Tensor, target: Tensor, unlabelled: Tensor | None = None) -> None:
        """Show a batch to all metrics, which are put on its device.

        Args:
            prediction: Predicted label of each voxel, (B, *S), any integer type.
            target: True label of each voxel, (B, *S), likewise.
            unlabelled: Labels of structures that were not looked for in a sample, (B, C) bool.
        """
        if not self._metrics:
            return
        for maps in self._counted(*counted_labels(prediction, target, None, unlabelled)):
            for metric in self._metrics.values():
                metric.to(prediction.device).update(*maps)

    def compute(self) -> dict[str, Tensor]:
        """The value of each metric, a scalar in float32; they then forget what they were shown."""
        values = {name: torch.as_tensor(m.compute()) for name, m in self._metrics.items()}
        for metric in self._metrics.values():
            metric.reset()
        return {name: value.float().reshape(()) for name, value in values.items()}

    def try_out(self, shape: Sequence[int], num_classes: int) -> None:
        """Check that every metric gives a number of a subject, in this process alone.

        Args:
            shape: Voxels along each axis of the label maps.
            num_classes: C, background included; all labels occur.

        Raises:
            ValueError: One does not; the message has its name and its own error. Or one takes
                scores or masks of each label, and would read the slices of a label map as these.
        """
        labels = torch.arange(math.prod(shape)).remainder(num_classes).view(1, *shape)
        for name, metric in self._metrics.items():
            form = getattr(metric, "input_format", "index")
            if form != "index":
                raise ValueError(
                    f"metrics.{name}.input_format must be index, for it is given label maps, "
                    f"got {form}"
                )
            alone = OwnMetrics({name: metric}, self._ignore)
            try:
                alone.update(labels, labels)
                alone.compute()
            except Exception as error:  # whatever a class of the user's may raise
                reason = " ".join(str(error).split()) or type(error).__name__
                raise ValueError(
                    f"metrics.{name} must give one number of label maps "
                    f"{tuple(labels.shape)} with labels 0 ... {num_classes - 1}: {reason}"
                ) from error

    def _counted(self, prediction: Tensor, target: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the label maps of each subject that has a voxel to score."""
        for maps in zip(prediction.long(), target.long(), strict=True):
            if self._ignore is None:
                yield maps[0][None], maps[1][None]
            elif (kept := maps[1] != self._ignore).any():
                yield maps[0][kept][None], maps[1][kept][None]
