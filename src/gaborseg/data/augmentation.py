"""Random geometry of a training sample: TorchIO's affine, drawn so that its ranges are exact."""

import logging
from dataclasses import dataclass

import numpy as np
import torch
import torchio as tio
from numpy.typing import NDArray
from SimpleITK import ProcessObject
from torch import Tensor

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AffineDraw:
    """One draw: degrees about the world's z axis, scale, and voxels moved along each array axis."""

    degrees: float
    scale: float
    shift: tuple[float, float, float]


def apply_affine(
    image: Tensor, label: Tensor, affine: NDArray, draw: AffineDraw
) -> tuple[Tensor, Tensor]:
    """Rotate and scale about the centre of the volume, then move it by the shift.

    TorchIO takes the translation along the world's axes and scales it together with the image;
    both are undone here, so that the centre moves by exactly ``draw.shift`` voxels.

    Args:
        image: (C, *S) float; interpolated linearly, filled with the minimum of each channel.
        label: (*S) integer; nearest neighbour, filled with 0.
        affine: (4, 4), voxel index to world millimetres.
        draw: What to do.
    """
    translation = affine[:3, :3] @ np.array(draw.shift) / draw.scale
    transform = tio.Affine(
        scales=(draw.scale, draw.scale, draw.scale),
        degrees=(0.0, 0.0, draw.degrees),
        translation=tuple(translation.tolist()),
        default_pad_value="minimum",
    )
    moved_image = transform(tio.ScalarImage(tensor=image, affine=affine))
    moved_label = transform(tio.LabelMap(tensor=label[None], affine=affine))
    return moved_image.data, moved_label.data[0].to(label.dtype)


def use_one_thread(worker: int) -> None:
    """Keep SimpleITK in a loader's worker from starting a thread for every processor."""
    ProcessObject.SetGlobalDefaultNumberOfThreads(1)


class RandomAffine:
    """One affine transform as a whole, with a probability; drawn from torch's global generator.

    Args:
        probability: How often a sample is transformed at all.
        degrees: Largest rotation about the world's z axis, either way.
        scale: Smallest and largest isotropic factor; above 1 enlarges.
        shift: Largest shift along each array axis, either way, as a fraction of the image size.

    Raises:
        ValueError: A value is outside its range.
    """

    def __init__(
        self,
        probability: float = 0.8,
        degrees: float = 30.0,
        scale: tuple[float, float] = (0.8, 1.2),
        shift: float = 0.2,
    ) -> None:
        if not 0 <= probability <= 1:
            raise ValueError(f"probability must be in 0..1, got {probability}")
        if not 0 < scale[0] <= scale[1]:
            raise ValueError(f"scale must be positive and increasing, got {tuple(scale)}")
        if degrees < 0 or shift < 0:
            raise ValueError(f"degrees and shift must not be negative, got {degrees} and {shift}")
        self.probability = probability
        self.degrees = degrees
        self.scale = scale
        self.shift = shift

    def draw(self, shape: tuple[int, ...]) -> AffineDraw | None:
        """Parameters for a volume of this shape, or None when it is to be left alone."""
        chance, angle, size, *shift = torch.rand(6, dtype=torch.float64).tolist()
        if chance >= self.probability:
            return None
        low, high = self.scale
        depth, height, width = (
            (2 * fraction - 1) * self.shift * extent
            for fraction, extent in zip(shift, shape, strict=True)
        )
        return AffineDraw(
            degrees=(2 * angle - 1) * self.degrees,
            scale=low + size * (high - low),
            shift=(depth, height, width),
        )

    def __call__(self, image: Tensor, label: Tensor, affine: NDArray) -> tuple[Tensor, Tensor]:
        """The image (C, *S) and the label map (*S), transformed alike or left alone."""
        draw = self.draw(tuple(label.shape))
        log.debug("augmentation: %s", draw)
        return (image, label) if draw is None else apply_affine(image, label, affine, draw)
