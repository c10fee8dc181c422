"""The decision that fits a correlation: each label's score on the scale of the label it predicts.

Pearson's correlation does not change when a score p becomes a p + b, so a network trained with it
may rank the voxels of a label well with scores that are far too small to win an argmax. What it
learns is the best *line* through p; the decision is therefore the argmax of those lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from gaborseg.decisions.calibration import AffineCalibration


def calibrated_scores(probs: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    """The line ``scale * p + offset`` of each label at each voxel, (B, C, *S).

    Args:
        probs: Scores, (B, C, *S).
        scale: Slope of each label, (C,).
        offset: Offset of each label, (C,).
    """
    shape = (-1, *[1] * (probs.ndim - 2))
    return torch.addcmul(offset.to(probs).view(shape), probs, scale.to(probs).view(shape))


class Calibrated(nn.Module):
    """The argmax of ``scale * p + offset``, fitted by least squares on validation subjects.

    Until it is fitted it decides as ``Argmax`` does. The maps are buffers, so that they travel in
    checkpoints.

    Args:
        num_classes: Number of classes C, background included.
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(num_classes))
        self.register_buffer("offset", torch.zeros(num_classes))
        self.calibration: AffineCalibration | None = None

    def forward(self, logits: Tensor) -> Tensor:
        """Return the label map (B, *S) of logits (B, C, *S)."""
        return self.scores(logits).argmax(dim=1)

    def scores(self, logits: Tensor) -> Tensor:
        """Return ``scale * p + offset``, (B, C, *S), the largest of which decides."""
        return calibrated_scores(logits.float().softmax(dim=1), self.scale, self.offset)

    def observe(self, logits: Tensor, target: Tensor, unlabelled: Tensor | None = None) -> None:
        """Collect the statistics of one batch.

        Args:
            logits: (B, C, *S).
            target: (B, *S).
            unlabelled: Labels that were not looked for in the batch, (C,) bool.
        """
        self._begun().update(logits.float().softmax(dim=1), target, unlabelled)

    def fit(self) -> None:
        """Set the maps from all that was observed, on every process, and forget it."""
        calibration = self._begun()
        scale, offset = calibration.compute()
        self.scale.copy_(scale)
        self.offset.copy_(offset)
        calibration.reset()

    def _begun(self) -> AffineCalibration:
        """Return what was observed, begun when it is first needed: to decide takes none of it."""
        if self.calibration is None:
            from gaborseg.decisions.calibration import AffineCalibration  # imports torchmetrics

            self.calibration = AffineCalibration(len(self.scale)).to(self.scale.device)
        return self.calibration
