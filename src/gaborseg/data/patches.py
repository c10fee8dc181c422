"""Large volumes piece by piece: random patches to train on, overlapping ones to put together."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torchio as tio
from torch import Tensor

_SAMPLERS = ("uniform", "label")
_MOST_PATCHES = 8
"""Side by side along an axis: with their overlaps up to 3375 in all, each many times as slow to
segment as its voxels would be in one piece."""


def _check_patch_size(patch_size: int) -> None:
    """Check the side of a patch.

    Raises:
        ValueError: It is below 1.
    """
    if patch_size < 1:
        raise ValueError(f"patch_size must be at least 1, got {patch_size}")


def check_patches(patch_size: int | None, shape: Sequence[int]) -> None:
    """Check that patches cut a volume of some shape into no more pieces than minutes suffice for.

    Raises:
        ValueError: They are too small, or no whole number.
    """
    smallest = -(-max(shape) // _MOST_PATCHES)
    if patch_size is not None and (type(patch_size) is not int or patch_size < smallest):
        raise ValueError(
            f"patch_size must be at least {smallest}, an eighth of the volumes' longest side, got "
            f"{patch_size!r}"
        )


class RandomPatches:
    """Draws patches from a sample, with torch's global generator.

    Args:
        patch_size: Voxels a side; along a shorter axis, the axis.
        count: Patches to draw from a sample.
        sampler: ``uniform``: every patch is equally likely. ``label``: every label that the sample
            has, background included, is equally likely in the patch's centre.
        ignore: A label that is never chosen as a centre by ``label``, or None.

    Raises:
        ValueError: ``patch_size`` or ``count`` is below 1, or there is no such sampler.
    """

    def __init__(
        self,
        patch_size: int,
        count: int = 1,
        sampler: str = "uniform",
        ignore: int | None = None,
    ) -> None:
        _check_patch_size(patch_size)
        if count < 1:
            raise ValueError(f"patches_per_volume must be at least 1, got {count}")
        if sampler not in _SAMPLERS:
            raise ValueError(f"patch_sampler must be one of {', '.join(_SAMPLERS)}, got {sampler}")
        self.patch_size = patch_size
        self.count = count
        self.sampler = sampler
        self.ignore = ignore

    def __call__(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Patches (K, C, *P) and (K, *P) of an image (C, *S) and its label map (*S)."""
        patches = self._draw(label, image=tio.ScalarImage(tensor=image))
        images = torch.stack([patch["image"][tio.DATA] for patch in patches])
        cut = torch.stack([patch["label"][tio.DATA][0] for patch in patches])
        return images, cut.to(label.dtype)

    def places(self, label: Tensor) -> tuple[tuple[tuple[int, ...], ...], tuple[int, ...]]:
        """First voxels (K) of the patches that a call would draw, and the sides *P of each."""
        patches = self._draw(label)
        corners = tuple(tuple(patch[tio.LOCATION][:3].tolist()) for patch in patches)
        return corners, self._sides(label)

    def _sides(self, label: Tensor) -> tuple[int, int, int]:
        depth, height, width = (min(self.patch_size, length) for length in label.shape)
        return depth, height, width

    def _draw(self, label: Tensor, **images: tio.Image) -> list[Any]:
        """Patches of a label map and of images of its shape."""
        subject = tio.Subject(
            **images,
            label=tio.LabelMap(tensor=label[None].float()),  # of integers, odds would round to 0
        )
        sides = self._sides(label)
        labels = [value for value in label.unique().tolist() if value != self.ignore]
        odds = dict.fromkeys(labels, 1.0)
        sampler: Any = (
            tio.UniformSampler(sides)
            if self.sampler == "uniform" or not odds
            else tio.LabelSampler(sides, "label", odds)
        )
        return list(sampler(subject, self.count))


def infer_volume(
    function: Callable[[Tensor], Tensor],
    image: Tensor,
    patch_size: int | None = None,
    overlap: float = 0.5,
) -> Tensor:
    """``function`` of a whole image, at once or patch by patch: (1, I, *S) to (1, C, *S).

    Where patches overlap their results are averaged, the nearer to a patch's centre the heavier;
    they are gathered on the CPU, and the average is moved to the image's device.

    Args:
        function: Maps images or patches of them (1, I, *P) to (1, C, *P).
        image: The whole volume; as many as fit in a batch if there are no patches.
        patch_size: Voxels a side of a patch; along a shorter axis, the axis. None: no patches.
        overlap: Share of a patch that the next one sees again, in [0, 1).

    Raises:
        ValueError: ``patch_size`` is below 1 or ``overlap`` outside [0, 1).
    """
    if patch_size is None:
        return function(image)
    _check_patch_size(patch_size)
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap must be in [0, 1), got {overlap}")
    depth, height, width = (min(patch_size, length) for length in image.shape[2:])
    sides = (depth, height, width)
    shared = tuple(2 * int(overlap * side / 2) for side in sides)  # TorchIO wants even numbers
    subject = tio.Subject(image=tio.ScalarImage(tensor=image[0].cpu()))
    sampler = tio.GridSampler(subject, sides, shared)  # type: ignore[arg-type]
    aggregator = tio.GridAggregator(sampler, overlap_mode="hann")
    for index in range(len(sampler)):
        patch = sampler[index]
        result = function(patch["image"][tio.DATA][None].to(image.device))
        aggregator.add_batch(result.cpu(), patch[tio.LOCATION][None])
    return aggregator.get_output_tensor()[None].to(image.device)
