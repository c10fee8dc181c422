"""From a scan's own grid onto the prepared cube, and back: one interpolation each way.

The paper resamples a scan to isotropic spacing, pads it to a cube and resizes the cube. Those
steps, and turning the scan to canonical orientation, move every axis on its own: together they are
one line per axis, ``scan index = step * prepared index + start``. So each axis is interpolated
once, and the way back is the same with the line inverted.

Prepared volumes are indexed (x, y, z) towards right, anterior, superior, as nearly as the axes of
the scan allow: nothing is rotated, an oblique scan stays oblique, and its affine says so.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import find_objects
from torch import Tensor

_Interpolation = Literal["linear", "nearest"]

BLOCK = 64
"""Voxels a side of what is labelled of a scan at a time: scores of the whole never exist."""


@dataclass(frozen=True, eq=False)
class PreparedGrid:
    """The cube that a scan is brought onto, and how it lies in the scan.

    Attributes:
        shape: Voxels of the scan along its own three axes.
        affine: (4, 4), voxel index of the scan to world millimetres (RAS+); invertible.
        size: Voxels a side of the cube.
        field_of_view: Side of the cube, mm; the longest side of the scan if not given.
        centre: Voxel index in the scan of the cube's centre; the scan's centre if not given.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    size: int
    field_of_view: float | None = None
    centre: tuple[float, float, float] | None = None

    @cached_property
    def scan_spacing(self) -> NDArray[np.float64]:
        """Millimetres from voxel to voxel along each axis of the scan, (3,)."""
        return voxel_sides(self.affine)

    @cached_property
    def spacing(self) -> float:
        """Millimetres from voxel to voxel of the cube."""
        side = self.field_of_view or float((self.scan_spacing * self.shape).max())
        return side / self.size

    @cached_property
    def axes(self) -> tuple[int, int, int]:
        """The scan's axis that runs, either way, along each axis of the cube."""
        x, y, z = np.argsort(nib.orientations.io_orientation(self.affine)[:, 0]).tolist()
        return x, y, z

    @cached_property
    def scan_from_prepared(self) -> NDArray[np.float64]:
        """(4, 4), voxel index of the cube to voxel index of the scan."""
        flips = nib.orientations.io_orientation(self.affine)[:, 1]
        centre = self.centre or tuple((length - 1) / 2 for length in self.shape)
        matrix = np.zeros((4, 4))
        matrix[3, 3] = 1
        for prepared, scan in enumerate(self.axes):
            step = flips[scan] * self.spacing / self.scan_spacing[scan]
            matrix[scan, prepared] = step
            matrix[scan, 3] = centre[scan] - step * (self.size - 1) / 2
        return matrix

    @property
    def prepared_affine(self) -> NDArray[np.float64]:
        """(4, 4), voxel index of the cube to world millimetres: it overlays the scan."""
        return self.affine @ self.scan_from_prepared

    @cached_property
    def lines(self) -> list[tuple[float, float, int]]:
        """Of each axis of the scan: step and start of its line, and its length in voxels."""
        matrix = self.scan_from_prepared
        return [
            (float(matrix[axis, self.axes.index(axis)]), float(matrix[axis, 3]), length)
            for axis, length in enumerate(self.shape)
        ]

    def prepared_centres(self) -> list[NDArray]:
        """Where the cube's voxels lie along each axis of the scan, as its voxel indices."""
        return [step * np.arange(self.size) + start for step, start, _ in self.lines]

    def scan_centres(self) -> list[NDArray]:
        """Where the scan's voxels lie along its axes, as voxel indices of the cube."""
        return [(np.arange(length) - start) / step for step, start, length in self.lines]

    def canonical(self, volume: Tensor) -> Tensor:
        """A view of a volume (..., in the scan's order) with its axes in the cube's order."""
        lead = range(volume.ndim - 3)
        return volume.permute(*lead, *(len(lead) + axis for axis in self.axes))

    def as_scanned(self, volume: Tensor) -> Tensor:
        """A view of a volume (..., in the cube's order) with its axes in the scan's order."""
        lead = range(volume.ndim - 3)
        return volume.permute(*lead, *(len(lead) + self.axes.index(axis) for axis in range(3)))


def linear_weights(where: NDArray, length: int, width: float = 0.0) -> Tensor:
    """Weight of each of ``length`` old voxels in the new ones at positions ``where``, (L, length).

    Linear interpolation, averaged over ``width`` old voxels, so that larger voxels do not alias
    finer detail: the integral of the interpolating triangle over that width.
    """
    offset = where[:, None] - np.arange(length)
    if width == 0:
        return _normalised(np.maximum(0, 1 - np.abs(offset)), where)
    right, left = (np.clip(offset + side * width / 2, -1, 1) for side in (1, -1))
    integral = (right - np.abs(right) * right / 2) - (left - np.abs(left) * left / 2)
    return _normalised(integral, where)


def area_weights(where: NDArray, length: int, width: float) -> Tensor:
    """The share of each old voxel in new ones that are ``width`` old voxels wide, (L, length)."""
    centre, old = where[:, None], np.arange(length)
    right = np.minimum(centre + width / 2, old + 0.5)
    left = np.maximum(centre - width / 2, old - 0.5)
    return _normalised(np.maximum(0, right - left), where)


def nearest_weights(where: NDArray, length: int) -> Tensor:
    """One for the old voxel that holds a new one's centre, (L, length)."""
    return _normalised(np.floor(where + 0.5)[:, None] == np.arange(length), where)


def _normalised(weights: NDArray, where: NDArray) -> Tensor:
    """Weights (L, length) of each new voxel that add up to 1, or to 0 if its centre is outside."""
    inside = (where >= -0.5) & (where < weights.shape[1] - 0.5)
    total = np.where(inside, weights.sum(axis=1), np.inf)
    return torch.from_numpy(weights / total[:, None]).float()


def _resample(volume: Tensor, weights: list[Tensor]) -> Tensor:
    """The volume (..., D, H, W) with its last three axes resampled, float32."""
    depth, height, width = (weight.to(volume.device) for weight in weights)
    planes = volume.float().flatten(-2)
    slabs = (depth @ planes).unflatten(-1, volume.shape[-2:])
    return (height @ slabs) @ width.T


def to_prepared(
    image: Tensor,
    affine: NDArray,
    size: int,
    field_of_view: float | None = None,
    centre: tuple[float, float, float] | None = None,
) -> tuple[Tensor, PreparedGrid]:
    """An image (..., D, H, W) on a cube of ``size`` voxels a side, float32, and the cube's grid.

    What lies outside the scan becomes 0, as in the paper, or the minimum of the channel where that
    is below 0 (air in a CT).
    """
    depth, height, width = image.shape[-3:]
    shape, affine = (depth, height, width), np.asarray(affine, dtype=np.float64)
    grid = PreparedGrid(shape, affine, size, field_of_view, centre)
    weights = [
        linear_weights(where, length, width=max(0.0, step**2 - 1) ** 0.5)
        for where, (step, _, length) in zip(grid.prepared_centres(), grid.lines, strict=True)
    ]
    image = image.float()
    lowest = image.amin(dim=(-3, -2, -1), keepdim=True).clamp(max=0)
    cube = _resample(image - lowest, weights) + lowest
    return grid.canonical(cube).contiguous(), grid


def labels_to_prepared(labels: Tensor, grid: PreparedGrid) -> Tensor:
    """A label map (D, H, W) uint8 of the scan on the cube: the label that fills most of a voxel.

    Of equal shares the smaller label's counts.
    """
    weights = [
        area_weights(where, length, width=abs(step))
        for where, (step, _, length) in zip(grid.prepared_centres(), grid.lines, strict=True)
    ]
    most = torch.zeros((grid.size,) * 3)
    winner = torch.zeros((grid.size,) * 3, dtype=labels.dtype)
    boxes = [(slice(None),) * 3, *find_objects(labels.numpy())]  # of each label, 0 being anywhere
    for label, box in enumerate(boxes):
        if box is None:
            continue
        share = _resample(
            labels[box] == label, [w[:, s] for w, s in zip(weights, box, strict=True)]
        )
        winner.masked_fill_(share > most, label)
        torch.maximum(most, share, out=most)
    return grid.canonical(winner).contiguous()


def to_native(
    volume: Tensor, grid: PreparedGrid, interpolation: _Interpolation = "linear"
) -> Tensor:
    """A volume (..., N, N, N) on the cube back on the scan's own grid, (..., D, H, W), float32."""
    weights_of = linear_weights if interpolation == "linear" else nearest_weights
    weights = [weights_of(where, grid.size) for where in grid.scan_centres()]
    return _resample(grid.as_scanned(volume), weights)


def labels_to_native(scores: Tensor, grid: PreparedGrid) -> Tensor:
    """The label map (D, H, W) uint8 of the scan: the largest of the scores (C, N, N, N) there.

    Scores are interpolated, not labels, so that surfaces are smooth on a finer grid: block by
    block of the scan, from the scores around each.
    """
    weights = [linear_weights(where, grid.size) for where in grid.scan_centres()]
    scanned = grid.as_scanned(scores)
    labels = torch.empty(grid.shape, dtype=torch.uint8)
    for block in blocks(grid.shape, BLOCK):
        rows = [weight[part] for weight, part in zip(weights, block, strict=True)]
        needed = [_used_columns(weight) for weight in rows]
        depth, height, width = needed
        around = scanned[..., depth, height, width]
        found = _resample(around, [w[:, part] for w, part in zip(rows, needed, strict=True)])
        labels[block] = found.max(dim=0).indices.to(torch.uint8)  # argmax is far slower
    return labels


def blocks(shape: Sequence[int], side: int) -> Iterator[tuple[slice, ...]]:
    """The blocks, of ``side`` voxels at most, that a volume falls into."""
    starts = (range(0, length, side) for length in shape)
    for corner in itertools.product(*starts):
        yield tuple(slice(start, start + side) for start in corner)


def _used_columns(weights: Tensor) -> slice:
    """From the first to the last old voxel that has a weight in (L, length) at all."""
    used = weights.any(dim=0).nonzero()
    return slice(int(used.min()), int(used.max()) + 1) if len(used) else slice(0)


def voxel_sides(affine: NDArray[Any]) -> NDArray[np.float64]:
    """Millimetres from voxel to voxel along each of the three axes of an affine (4, 4)."""
    return np.linalg.norm(np.asarray(affine, dtype=np.float64)[:3, :3], axis=0)
