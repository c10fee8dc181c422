"""Whether logits can be decided on at all."""

import torch
from torch import Tensor


def are_finite(logits: Tensor) -> bool:
    """Return whether all logits are finite: of NaN any decision makes background."""
    return bool(torch.isfinite(torch.stack(torch.aminmax(logits))).all())
