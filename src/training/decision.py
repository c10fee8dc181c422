"""From logits to a label map: the paper's argmax, or the decision that fits a correlation loss.

Pearson's correlation does not change when a score p becomes a p + b, so a network trained with it
may leave the scores of a structure proportional to the truth yet tiny. Its natural decision is the
argmax after the least-squares map of each label's score onto the truth.
"""

import torch
from torch import Tensor, nn

from src.metrics import AffineCalibration, calibrated_labels


class Argmax(nn.Module):
    """The most probable class: logits (B, C, *S) to a label map (B, *S)."""

    def forward(self, logits: Tensor) -> Tensor:
        """Return the index of the largest logit of each voxel."""
        return logits.argmax(dim=1)

    def scores(self, logits: Tensor) -> Tensor:
        """Return the probabilities (B, C, *S), whose largest is decided for."""
        return logits.float().softmax(dim=1)


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
        self.calibration = AffineCalibration(num_classes)

    def forward(self, logits: Tensor) -> Tensor:
        """Return the label map (B, *S) of logits (B, C, *S)."""
        return calibrated_labels(logits.float().softmax(dim=1), self.scale, self.offset)

    def scores(self, logits: Tensor) -> Tensor:
        """Return ``scale * p + offset``, (B, C, *S), whose largest is decided for."""
        probs = logits.float().softmax(dim=1)
        shape = (-1, *[1] * (probs.ndim - 2))
        return torch.addcmul(self.offset.view(shape), probs, self.scale.view(shape))

    def observe(self, logits: Tensor, target: Tensor) -> None:
        """Collect the statistics of one batch: logits (B, C, *S), target (B, *S)."""
        self.calibration.update(logits.float().softmax(dim=1), target)

    def fit(self) -> None:
        """Set the maps from all that was observed, on every process, and forget it."""
        scale, offset = self.calibration.compute()
        self.scale.copy_(scale)
        self.offset.copy_(offset)
        self.calibration.reset()
