"""Any loss without the voxels and structures that nobody has labelled."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from gaborseg.losses.statistics import check_shapes
from gaborseg.losses.sums import check_labels
from gaborseg.losses.targets import label_map


def counted_voxels(
    logits: Tensor, target: Tensor, ignore: int | None
) -> Iterator[tuple[Tensor, Tensor] | None]:
    """The labelled voxels of each sample, logits (1, C, n) and labels (1, n); None without any.

    Args:
        logits: (B, C, *S).
        target: Label of each voxel, (B, *S), any integer type.
        ignore: The label that says that a voxel has none; None: every voxel has one.
    """
    for scores, labels in zip(logits.flatten(2), target.flatten(1), strict=True):
        if ignore is None:
            yield scores[None], labels[None]
            continue
        (places,) = (labels != ignore).nonzero(as_tuple=True)
        counted = (scores.index_select(1, places)[None], labels[places][None])
        yield counted if len(places) else None


def _merged_labels(logits: Tensor, target: Tensor, unlabelled: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (B, C', n) and labels (B, n) in which unlabelled structures are background.

    The logit of the new background is the log-sum-exp of those that it is made of: its softmax
    score is the sum of theirs.

    Args:
        logits: (B, C, n).
        target: Label of each voxel, (B, n), none of the unlabelled ones.
        unlabelled: Which labels are merged with the background, (C,) bool; the first is False.
    """
    background = unlabelled.clone()
    background[0] = True
    kept = ~background
    merged = [logits[:, background].logsumexp(1, keepdim=True), logits[:, kept]]
    return torch.cat(merged, dim=1), (kept.cumsum(0) * kept)[target.long()]


def _labelled_channels(logits: Tensor, target: Tensor, unlabelled: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (B, C', n) and labels (B, n) of the labels that were looked for, the background first.

    Args:
        logits: (B, C, n), a structure of its own each.
        target: Label of each voxel, (B, n), none of the unlabelled ones.
        unlabelled: Which labels are left out, (C,) bool; the first is False.
    """
    kept = ~unlabelled
    return logits[:, kept], ((kept.cumsum(0) - 1) * kept)[target.long()]


class MaskedLoss(nn.Module):
    """A loss of what is labelled alone: other voxels might as well not be in the volume.

    Each sample is reduced to its labelled voxels, in one row; the loss is the mean over samples. A
    sample without any, or in which no structure was looked for, has no part in it; if that is true
    of all, the loss is 0, without gradient. It suits every loss of this package: none of them asks
    where a voxel lies. Samples whose voxels all count cost nothing more than the loss itself;
    others a copy of their logits.

    Structures that nobody has looked for in a sample cannot be told from its background: there both
    are one label, whose score is the sum of theirs (the marginal loss). With `sigmoid=True`, where
    every channel is a structure of its own, their channels are left out.

    Args:
        loss: Called as ``loss(logits, target)``; a mean over samples.
        ignore: The label of voxels that do not count, such as 255; none of 0 ... C - 1. None: there
            are none.

    Shape:
        Logits (B, C, *S) and labels (B, *S), integers 0 ... C - 1 or ``ignore`` -> a scalar.

    Raises:
        TypeError: As the loss does.
        ValueError: As the loss does.
        RuntimeError: A label is neither of 0 ... C - 1 nor ``ignore``.

    Example:
        >>> from gaborseg import MaskedLoss, PCCLoss
        >>> logits = torch.tensor([[[2.0, 1.0, -1.0, 9.0], [-2.0, -1.0, 1.0, 9.0]]])
        >>> MaskedLoss(PCCLoss(), ignore=255)(logits, torch.tensor([[0, 0, 1, 255]]))
        tensor(0.0029)

    References:
        Shi et al., Marginal loss and exclusion loss for partially supervised multi-organ
        segmentation, Medical Image Analysis 2021.
    """

    def __init__(self, loss: nn.Module, ignore: int | None = 255) -> None:
        super().__init__()
        self.loss = loss
        self.ignore = ignore

    def forward(self, logits: Tensor, target: Tensor, unlabelled: Tensor | None = None) -> Tensor:
        """The loss of logits (B, C, *S) against a label map (B, *S), a scalar.

        Args:
            logits: (B, C, *S).
            target: (B, *S).
            unlabelled: Labels of structures that were not looked for in a sample, (B, C) bool.
        """
        ignores = self.ignore is not None and bool((target == self.ignore).any())
        merges = unlabelled is not None and bool(unlabelled.any())
        if not (ignores or merges):
            return self.loss(logits, target)
        target = label_map(logits, target)
        check_shapes(logits, target)
        samples = counted_voxels(logits, target, self.ignore if ignores else None)
        rows = [None] * len(logits) if unlabelled is None else unlabelled
        losses = [
            self._of_sample(*sample, row)
            for sample, row in zip(samples, rows, strict=True)
            if sample is not None and not (row is not None and row[1:].all())
        ]
        return torch.stack(losses).mean() if losses else logits.flatten()[:0].sum()

    def _of_sample(self, logits: Tensor, target: Tensor, unlabelled: Tensor | None) -> Tensor:
        """The loss of one sample, (1, C, n) and (1, n), without what nobody has looked for."""
        if unlabelled is None or not unlabelled.any():
            return self.loss(logits, target)
        check_labels(target, logits.shape[1])
        apart = getattr(self.loss, "sigmoid", False)
        left = (_labelled_channels if apart else _merged_labels)(logits, target, unlabelled)
        return self.loss(*left)

    def extra_repr(self) -> str:
        """What `print` shows between the brackets."""
        return f"ignore={self.ignore}"
