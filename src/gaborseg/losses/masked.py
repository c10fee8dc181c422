"""Any loss without the voxels that nobody has labelled."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn


def counted_voxels(logits: Tensor, target: Tensor, ignore: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The labelled voxels of each sample that has any: logits (1, C, n) and labels (1, n).

    Args:
        logits: (B, C, *S).
        target: Label of each voxel, (B, *S), any integer type.
        ignore: The label that says that a voxel has none.
    """
    for scores, labels in zip(logits.flatten(2), target.flatten(1), strict=True):
        (places,) = (labels != ignore).nonzero(as_tuple=True)
        if len(places):
            yield scores.index_select(1, places)[None], labels[places][None]


class MaskedLoss(nn.Module):
    """A loss of the labelled voxels alone: the others might as well not be in the volume.

    Each sample is reduced to its labelled voxels, in one row; the loss is the mean over samples. A
    sample without any has no part in it; if none has any, it is 0, without gradient. It suits every
    loss of this package: none of them asks where a voxel lies. Samples without such voxels
    cost nothing more than the loss itself; others a copy of their logits.

    Args:
        loss: Called as ``loss(logits, target)``; a mean over samples.
        ignore: The label of voxels that do not count, such as 255; none of 0 ... C - 1.

    Shape:
        Logits (B, C, *S) and labels (B, *S), integers 0 ... C - 1 or ``ignore`` -> a scalar.

    Example:
        >>> from gaborseg import MaskedLoss, PCCLoss
        >>> logits = torch.tensor([[[2.0, 1.0, -1.0, 9.0], [-2.0, -1.0, 1.0, 9.0]]])
        >>> MaskedLoss(PCCLoss(), ignore=255)(logits, torch.tensor([[0, 0, 1, 255]]))
        tensor(0.0029)
    """

    def __init__(self, loss: nn.Module, ignore: int = 255) -> None:
        super().__init__()
        self.loss = loss
        self.ignore = ignore

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of logits (B, C, *S) against a label map (B, *S), a scalar."""
        if not bool((target == self.ignore).any()):
            return self.loss(logits, target)
        parts = [self.loss(*part) for part in counted_voxels(logits, target, self.ignore)]
        return torch.stack(parts).mean() if parts else logits.flatten()[:0].sum()

    def extra_repr(self) -> str:
        """What `print` shows between the brackets."""
        return f"ignore={self.ignore}"
