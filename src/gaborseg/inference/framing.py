"""Which part of a scan a model is to see: one as large as the scans that it was trained on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

_MOST_SAMPLES = 64
"""Voxels along an axis that are looked at to find what a scan shows."""
_VISIBLE = 0.15
"""What is brighter than this share of the range of intensities is not background."""


@dataclass(frozen=True)
class Frame:
    """Where the cube that a model sees lies in a scan.

    Attributes:
        field_of_view: Side of the cube, mm.
        centre: Voxel index in the scan of the cube's centre.
        cut: Millimetres of what the scan shows that do not fit into the cube.
    """

    field_of_view: float
    centre: tuple[float, float, float]
    cut: float


def frame_for(image: Tensor, spacing: NDArray, limits: tuple[float, float]) -> Frame:
    """The cube around a scan, its side within those of the training scans.

    A scan between the limits is seen whole, as in training. A smaller one is padded to the shortest
    training scan, a larger one cropped to the longest: around what it shows, and never
    beyond its border.

    Args:
        image: (D, H, W).
        spacing: Millimetres from voxel to voxel along each axis, (3,).
        limits: The shortest and the longest side of a training scan, mm.
    """
    shape = np.array(image.shape)
    sides = shape * spacing
    side = float(np.clip(sides.max(), *limits))
    middle = (shape - 1) / 2
    if side >= sides.max():
        return Frame(side, _three(middle), cut=0.0)
    first, last = visible_box(image)
    slack = np.maximum(0, (sides - side) / spacing / 2)
    centre = np.clip((first + last) / 2, middle - slack, middle + slack)
    return Frame(
        side, _three(centre), cut=float(max(0, ((last - first + 1) * spacing).max() - side))
    )


def visible_box(image: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """First and last voxel along each axis of all but 1 % of what is not background, (3,) each."""
    steps = [max(1, length // _MOST_SAMPLES) for length in image.shape]
    sample = image[tuple(slice(step // 2, None, step) for step in steps)].float().cpu().numpy()
    low, high = np.quantile(sample, [0.01, 0.995])
    visible = sample > low + _VISIBLE * (high - low)
    visible |= not visible.any()
    ends = [_ends(visible, axis, step) for axis, step in enumerate(steps)]
    first, last = np.array(ends).T
    return first, np.minimum(last, np.array(image.shape) - 1)


def _ends(visible: NDArray, axis: int, step: int) -> tuple[float, float]:
    others = tuple(other for other in range(3) if other != axis)
    share = visible.sum(axis=others).cumsum() / visible.sum()
    first, last = np.searchsorted(share, [0.005, 0.995])
    return float(first * step), float(last * step + step - 1)


def _three(values: Sequence[float] | NDArray) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z
