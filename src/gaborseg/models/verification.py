"""Whether an exported file computes what its checkpoint does."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from gaborseg.models.deployed import Outputs

_SMOOTH = 2.0
"""Sigma of the noise that stands for a scan, voxels."""


@dataclass(frozen=True)
class Difference:
    """How two computations of the same image differ.

    Attributes:
        logits: Largest difference of two logits.
        labels: Share of voxels whose labels agree, in [0, 1].
    """

    logits: float
    labels: float


@torch.inference_mode()
def difference(one: Outputs, other: Outputs, image: Tensor) -> Difference:
    """How the logits and labels of an image (1, I, D, H, W) differ."""
    (logits, labels), (other_logits, other_labels) = (
        outputs(image, ("logits", "labels")) for outputs in (one, other)
    )
    return Difference(
        logits=float((logits - other_logits).abs().max()),
        labels=float((labels == other_labels).double().mean()),
    )


def smooth_noise(shape: Sequence[int], seed: int = 0) -> Tensor:
    """A random image of the shape (1, I, D, H, W) with mean 0, deviation 1 and blobs in it."""
    noise = torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed)).numpy()
    smooth = gaussian_filter(noise, sigma=(0, 0, _SMOOTH, _SMOOTH, _SMOOTH))
    return torch.from_numpy((smooth - smooth.mean()) / smooth.std())
