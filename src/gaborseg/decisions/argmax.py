"""The paper's decision: the most probable class."""

from torch import Tensor, nn


class Argmax(nn.Module):
    """The most probable class: logits (B, C, *S) to a label map (B, *S)."""

    def forward(self, logits: Tensor) -> Tensor:
        """Return the index of the largest logit of each voxel."""
        return logits.argmax(dim=1)

    def scores(self, logits: Tensor) -> Tensor:
        """Return the probabilities (B, C, *S), the largest of which decides."""
        return logits.float().softmax(dim=1)
