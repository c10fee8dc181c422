"""Rotation, scale and shift of a volume at once."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torchio as tio
from numpy.typing import NDArray
from torchio.transforms.augmentation import RandomTransform
from torchio.transforms.spatial_transform import SpatialTransform

from gaborseg.gpu import Matrix

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AffineDraw:
    """One draw: degrees about the world's z axis, scale, and voxels moved along each array axis."""

    degrees: float
    scale: float
    shift: tuple[float, float, float]


def apply_affine(subject: tio.Subject, draw: AffineDraw) -> tio.Subject:
    """Rotate and scale all images about the centre of the volume, then move them by the shift.

    Scans are interpolated linearly and filled with the minimum of each channel; label maps take the
    nearest neighbour and are filled with 0. TorchIO takes the translation along the world's axes
    and scales it together with the image; both are undone here, so that the centre moves by exactly
    ``draw.shift`` voxels.
    """
    images = subject.get_images_dict(intensity_only=False)
    axes = next(iter(images.values())).affine[:3, :3]
    transform = tio.Affine(
        scales=(draw.scale, draw.scale, draw.scale),
        degrees=(0.0, 0.0, draw.degrees),
        translation=tuple((axes @ np.array(draw.shift) / draw.scale).tolist()),
        default_pad_value="minimum",
    )
    return tio.Subject({**subject, **{name: transform(image) for name, image in images.items()}})


def voxel_map(draw: AffineDraw, affine: NDArray, shape: Sequence[int]) -> Matrix:
    """Where each voxel of a moved volume comes from: (3, 4), from voxels and 1 to voxels.

    Args:
        draw: The transform, as ``apply_affine`` takes it.
        affine: (4, 4), voxel index to world millimetres.
        shape: Voxels of the volume along each axis.
    """
    cosine, sine = np.cos(np.radians(draw.degrees)), np.sin(np.radians(draw.degrees))
    back = np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])  # rotates the other way
    axes = np.asarray(affine, dtype=np.float64)[:3, :3]
    linear = np.linalg.solve(axes, back @ axes) / draw.scale
    centre = (np.array(shape) - 1) / 2
    offset = centre - linear @ (centre + np.array(draw.shift))
    return tuple(map(tuple, np.column_stack([linear, offset]).tolist()))


class RandomAffine(RandomTransform, SpatialTransform):
    """One affine transform as a whole, with a probability; a TorchIO transform of subjects.

    It is drawn from torch's global generator: six numbers, whether or not the sample is changed.

    Args:
        probability: How often a sample is transformed at all.
        degrees: Largest rotation about the world's z axis, either way.
        scale: Smallest and largest isotropic factor; above 1 enlarges.
        shift: Largest shift along each array axis, either way, as a fraction of the image size.

    Raises:
        ValueError: A value is outside its range.

    Example:
        >>> RandomAffine(degrees=10)
        RandomAffine(probability=0.8, degrees=10, scale=(0.8, 1.2), shift=0.2)
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
        super().__init__(p=probability)
        self.degrees = degrees
        self.scale = scale
        self.shift = shift
        self.args_names = ["probability", "degrees", "scale", "shift"]

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

    def __call__(self, subject: tio.Subject) -> tio.Subject:  # type: ignore[override]
        """The subject with its images transformed alike, or the same subject."""
        return self.apply_transform(subject)

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        """Draw, and transform all images alike or none."""
        draw = self.draw(subject.spatial_shape)
        log.debug("augmentation: %s", draw)
        return subject if draw is None else apply_affine(subject, draw)
