"""Volumes of any size for networks that halve them several times."""

from collections.abc import Callable, Sequence

from torch import Tensor
from torch.nn import functional as F


def padded_inside(
    network: Callable[[Tensor], Tensor], image: Tensor, multiples: Sequence[int]
) -> Tensor:
    """Return what a network makes of an image of any size.

    Args:
        network: Maps images (B, I, D, H, W) of fitting sizes to logits (B, C, D, H, W).
        image: (B, I, D, H, W).
        multiples: D, H and W fit if they are multiples of these; zeros are appended up to the next.
    """
    depth, height, width = image.shape[2:]
    return network(_pad_to_multiples(image, multiples))[..., :depth, :height, :width]


def _pad_to_multiples(image: Tensor, multiples: Sequence[int]) -> Tensor:
    """Append zeros at the far end of each of the last three axes up to a multiple."""
    missing = [-size % wanted for size, wanted in zip(image.shape[2:], multiples, strict=True)]
    if not any(missing):
        return image
    return F.pad(image, [amount for axis in reversed(missing) for amount in (0, axis)])
