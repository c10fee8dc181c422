"""What the scans of a training look like, to tell when another scan does not."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaborseg.data.cache import PreparedCase
from gaborseg.scans import voxel_sides

LEVELS = np.linspace(0.01, 0.99, 50)
"""Shares of the visible voxels below each of the quantiles that stand for their histogram."""
_VISIBLE = 0.1
"""What is brighter than this share of the range of intensities is not background."""
_LEAST_DISTANCE = 0.1
"""Scans of one scanner may be very alike; so much difference is never taken for a large one."""
_MOST_VOXELS = 2**18
"""Voxels of a volume that are looked at, evenly spread: more would change no quantile."""


@dataclass(frozen=True)
class Appearance:
    """Intensities and fields of view of a set of prepared scans; plain lists, ready for JSON.

    Attributes:
        quantiles: Of the z-scored intensities of each channel where it is not background, the mean
            over the scans.
        distances: The largest distance of one scan from the mean of the others, for each channel.
        field_of_view: The shortest and the longest side of the scans' cubes, mm.
    """

    quantiles: list[list[float]]
    distances: list[float]
    field_of_view: list[float]

    def as_json(self) -> dict[str, Any]:
        """The attributes by name."""
        return asdict(self)

    def unlikeness(self, image: NDArray) -> float:
        """How far a scan is from these, 1 being the farthest of them; of several channels the most.

        Args:
            image: (C, *S), prepared and z-scored.
        """
        distances = distance(intensity_quantiles(image), np.array(self.quantiles))
        return float((distances / np.array(self.distances)).max())


def appearance_of(cases: Sequence[PreparedCase]) -> Appearance:
    """What prepared cases look like."""
    each = np.stack([intensity_quantiles(case.read("image")) for case in cases])
    mean, others = each.mean(axis=0), max(1, len(each) - 1)
    largest = distance(each, mean).max(axis=0) * len(each) / others
    sides = [field_of_view(case.read("label").shape, case.read("affine")) for case in cases]
    return Appearance(
        quantiles=mean.round(5).tolist(),
        distances=np.maximum(_LEAST_DISTANCE, largest).round(5).tolist(),
        field_of_view=[round(min(sides), 3), round(max(sides), 3)],
    )


def intensity_quantiles(image: NDArray) -> NDArray[np.float64]:
    """The quantiles of each channel (C, *S) where it is not background, at the LEVELS: (C, 50)."""
    flat = image.reshape(len(image), -1)
    step = max(1, flat.shape[1] // _MOST_VOXELS)
    return np.stack([np.quantile(visible(channel), LEVELS) for channel in flat[:, ::step]])


def visible(values: NDArray) -> NDArray:
    """Those of some intensities that are not background, (n,); all if they are the same."""
    low, high = np.quantile(values, [0.01, 0.995])
    seen = values[values > low + _VISIBLE * (high - low)]
    return seen if seen.size else values


def distance(quantiles: NDArray, reference: NDArray) -> NDArray[np.float64]:
    """Mean difference of quantiles, the area between two cumulative histograms: (..., 50) to (...).

    In standard deviations of the intensities (Wasserstein's distance).
    """
    return np.abs(quantiles - reference).mean(axis=-1)


def field_of_view(shape: Sequence[int], affine: NDArray) -> float:
    """The longest side of a volume, mm."""
    return float((voxel_sides(affine) * shape).max())
