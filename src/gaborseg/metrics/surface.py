"""How far apart the surfaces of two label maps lie, in millimetres: HD95 and NSD.

The surface of a structure consists of its voxels that share a face with anything else, or lie on
the border of the image. d(A, B) are the distances from each surface voxel of A to the nearest one
of B, centre to centre:

    HD95 = max(95th percentile of d(A, B), 95th percentile of d(B, A))
    NSD  = share of the distances in d(A, B) and d(B, A) together that are within a tolerance

A structure that both maps lack has no scores: NaN. One that only one of them has gets the worst
there are, so that missing it never pays: NSD 0, and for HD95 the diagonal of the image.

References:
    Maier-Hein et al., Metrics reloaded: recommendations for image analysis validation,
    Nature Methods 2024.
    Nikolov et al., Clinically applicable segmentation of head and neck anatomy, JMIR 2021 (NSD).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import find_objects
from scipy.spatial import KDTree
from torch import Tensor

from gaborseg.scans import voxel_sides

_PERCENTILE = 95
_ROUNDING = 1e-6
"""Millimetres: a distance of exactly the tolerance counts as within it."""

_Mask = NDArray[np.bool_]
_Box = tuple[slice, ...]


class SurfaceScores(NamedTuple):
    """HD95 in millimetres and NSD in [0, 1] of each structure, (L,) float64 each."""

    hd95: Tensor
    nsd: Tensor


def surface_scores(
    prediction: Tensor,
    truth: Tensor,
    num_structures: int,
    *,
    spacing: Sequence[float],
    tolerance: float,
) -> SurfaceScores:
    """HD95 and NSD of the labels 1 ... L of a case.

    Args:
        prediction: Predicted label of each voxel, (*S), any integer type; 0 is background.
        truth: True label of each voxel, (*S), likewise.
        num_structures: L.
        spacing: Millimetres from voxel to voxel along each axis of S.
        tolerance: Millimetres that a surface may be off and still count as found (NSD).

    Raises:
        ValueError: The shapes differ, the spacing is not one positive number an axis, or the
            tolerance is negative or not finite.
    """
    _check(prediction, truth, spacing, tolerance)
    predicted, true = prediction.cpu().numpy(), truth.cpu().numpy()
    sides = np.asarray(spacing, dtype=np.float64)
    boxes = zip(*(find_objects(map_, num_structures) for map_ in (predicted, true)), strict=True)
    scores = np.full((2, num_structures), np.nan)
    missed = (float(np.linalg.norm(sides * true.shape)), 0.0)
    for index, (first, second) in enumerate(boxes):
        if first and second:
            box, label = tuple(map(_union, first, second)), index + 1
            scores[:, index] = _scores(
                predicted[box] == label, true[box] == label, sides, tolerance
            )
        elif first or second:
            scores[:, index] = missed
    return SurfaceScores(*torch.from_numpy(scores))


def voxel_tolerance(affines: Iterable[NDArray[Any]]) -> float:
    """The NSD tolerance unless another is asked for: the longest voxel side of all scans, in mm.

    One number for a whole data set; with it a surface may be off by one voxel along any axis.
    """
    return max(float(voxel_sides(affine).max()) for affine in affines)


def _check(prediction: Tensor, truth: Tensor, spacing: Sequence[float], tolerance: float) -> None:
    if prediction.shape != truth.shape:
        raise ValueError(
            f"prediction and truth must share a shape, "
            f"got {tuple(prediction.shape)} and {tuple(truth.shape)}"
        )
    if len(spacing) != truth.ndim or not all(0 < side < math.inf for side in spacing):
        raise ValueError(f"spacing must be {truth.ndim} positive numbers, got {tuple(spacing)}")
    if not 0 <= tolerance < math.inf:
        raise ValueError(f"tolerance must be a finite number of 0 mm or more, got {tolerance}")


def _union(first: slice, second: slice) -> slice:
    return slice(min(first.start, second.start), max(first.stop, second.stop))


def _scores(
    predicted: _Mask, true: _Mask, sides: NDArray[np.float64], tolerance: float
) -> tuple[float, float]:
    """HD95 and NSD of one structure that both masks have."""
    first, second = _surface(predicted), _surface(true)
    there, back = _distances(first, second, sides), _distances(second, first, sides)
    hd95 = max(np.percentile(there, _PERCENTILE), np.percentile(back, _PERCENTILE))
    return float(hd95), float((np.concatenate((there, back)) <= tolerance + _ROUNDING).mean())


def _surface(mask: _Mask) -> _Mask:
    """The voxels of a mask with a face to something else or to the outside."""
    padded = np.pad(mask, 1)
    core = (slice(1, -1),) * mask.ndim
    inside = mask.copy()
    for axis, step in product(range(mask.ndim), (-1, 1)):
        inside &= np.roll(padded, step, axis)[core]
    return mask & ~inside


def _distances(surface: _Mask, other: _Mask, sides: NDArray[np.float64]) -> NDArray[np.float64]:
    """Millimetres from each voxel of a surface to the nearest one of another, in any order.

    Most voxels of two similar surfaces coincide: only the others ask the tree. It is cheaper than
    distance transforms, which compute the distance of every voxel of the bounding box.
    """
    apart = np.argwhere(surface & ~other)
    distances = np.zeros(np.count_nonzero(surface))
    if len(apart):
        tree = KDTree(np.argwhere(other) * sides, leafsize=32, balanced_tree=False)
        distances[: len(apart)] = tree.query(apart * sides)[0]
    return distances
