"""Structures in three dimensions: smooth surfaces of a label map, lit and seen from a side.

The surfaces are small triangles (marching cubes). Each pixel keeps the nearest one, its structure
and its normal, and is lit afterwards: there is no order of triangles to get wrong, no seam between
them, and no graphics hardware to ask for.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, gaussian_filter
from skimage.measure import marching_cubes

_SMOOTHING = 0.75
"""Standard deviation of the blur that rounds the voxels' corners, in voxels of the label map."""
_FINE_MM = 2.0
"""Voxels much larger than this are divided before they are blurred."""
PIXELS, _SUPERSAMPLING = 600, 2
"""Side of a picture, and of each pixel in the points that it is averaged from."""
LIGHT = np.array([-0.45, 0.65, 0.61])
"""Where the light is: the picture's right, its up, towards the viewer; of length 1."""
_AMBIENT, _DIFFUSE, _SPECULAR, _SHININESS = 0.48, 0.62, 0.20, 28
_CREASES, _CREASE_MM, _CREASE_WIDTH = 0.55, 12.0, 0.02
"""What is farther away than its surroundings in the picture (this share of its side) is darker, by
at most that share, where it is that many mm away: a crease, a cavity, a thing behind another."""
_COARSE = 4
"""Pixels from one to the next at which the surroundings are looked at."""
_OUTLINE, _OUTLINE_MM = 0.55, 4.0
"""Brightness of the line between two structures, or where one surface hides another."""

Array = NDArray[np.float64]


class Mesh(NamedTuple):
    """A surface: vertices (V, 3) in mm, normals (V, 3) outwards, faces (F, 3) of vertex indices."""

    vertices: Array
    normals: Array
    faces: NDArray[np.int32]


@dataclass(frozen=True)
class View:
    """From where, and how much, is seen; the space is right, anterior, superior.

    Attributes:
        azimuth: Where the viewer stands, in degrees from the right (0) to the front (90), the left
            (180) and the back (270).
        elevation: How far above the horizon, in degrees.
    """

    azimuth: float = 200.0
    elevation: float = 20.0

    @cached_property
    def axes(self) -> Array:
        """Rows: the picture's right, its up, and the direction to the viewer, in space."""
        azimuth, elevation = math.radians(self.azimuth), math.radians(self.elevation)
        flat = np.array([math.cos(azimuth), math.sin(azimuth), 0])
        towards = math.cos(elevation) * flat + [0, 0, math.sin(elevation)]
        right = np.array([-flat[1], flat[0], 0])
        return np.stack([right, np.cross(towards, right), towards])


def structure_mesh(mask: NDArray[np.bool_], spacing: Sequence[float]) -> Mesh:
    """The smoothed surface of a mask with at least one voxel, of about the same volume.

    Args:
        mask: (X, Y, Z).
        spacing: Millimetres from voxel to voxel along each axis; voxel (0, 0, 0) is at the origin.
    """
    (box,) = find_objects(mask.astype(np.uint8))
    margin = 3
    inside = np.pad(mask[box], margin).astype(np.float32)
    sides = np.asarray(spacing, dtype=np.float64)
    parts = np.maximum(1, np.round(sides / _FINE_MM)).astype(int)
    for axis, part in enumerate(parts):
        inside = inside.repeat(part, axis)
    blurred = gaussian_filter(inside, _SMOOTHING * parts)
    rank = blurred.size - np.count_nonzero(inside)  # as many values are above as in the mask
    level = np.partition(blurred, (rank - 1, rank), axis=None)[rank - 1 : rank + 1].mean()
    vertices, faces, normals, _ = marching_cubes(blurred, level, spacing=tuple(sides / parts))
    corner = np.array([side.start - margin for side in box]) * sides - (sides - sides / parts) / 2
    return Mesh(vertices + corner, normals, faces)


class Frame(NamedTuple):
    """The part of the picture's plane that is seen, in mm: its corner (2,) and its side."""

    corner: Array
    side: float


def frame_of(meshes: Sequence[Mesh], view: View, margin: float = 0.06) -> Frame:
    """A square around all meshes but stray specks, and a share of margin on every side."""
    plane = np.concatenate([mesh.vertices for mesh in meshes]) @ view.axes[:2].T
    low, high = np.percentile(plane, (0.1, 99.9), axis=0)
    side = float((high - low).max()) * (1 + 2 * margin)
    return Frame((low + high - side) / 2, side)


def render(
    meshes: Sequence[Mesh], colors: Array, frame: Frame, view: View, pixels: int = PIXELS
) -> Array:
    """A picture of meshes, (pixels, pixels, 4) RGBA in [0, 1], first row on top, else transparent.

    Args:
        meshes: What is seen.
        colors: RGB of each mesh, (M, 3) in [0, 1].
        frame: What part of the plane.
        view: From where.
        pixels: Side of the picture.
    """
    size = pixels * _SUPERSAMPLING
    near = [_near_side(mesh, frame, view, size) for mesh in meshes]
    owner = np.repeat(np.arange(len(near)), [len(part) for part in near])
    shown = _nearest(np.concatenate([np.empty((0, 3, 6)), *near]), owner, size)
    covered = shown.which >= 0
    picture = np.zeros((size, size, 4))
    picture[covered, :3] = _lit(colors.reshape(-1, 3)[shown.which[covered]], shown.normal[covered])
    picture[..., :3] *= (_creases(shown.depth, covered) * _outlines(shown))[..., None]
    picture[..., 3] = covered
    blocks = picture.reshape(pixels, _SUPERSAMPLING, pixels, _SUPERSAMPLING, 4).mean(axis=(1, 3))
    blocks[..., :3] /= np.maximum(blocks[..., 3:], 1e-9)
    return blocks.clip(0, 1)


def _near_side(mesh: Mesh, frame: Frame, view: View, size: int) -> Array:
    """Triangles that face the viewer, (T, 3 corners, 6): column, row, depth in mm, normal."""
    seen = mesh.vertices @ view.axes.T
    seen[:, :2] = (seen[:, :2] - frame.corner) * (size / frame.side)
    seen[:, 1] = size - seen[:, 1]
    corners = np.concatenate([seen, mesh.normals @ view.axes.T], axis=1)[mesh.faces]
    return corners[corners[..., 5].max(axis=1) > 0]


class _Shown(NamedTuple):
    """What each pixel shows: mesh (-1: none), depth in mm (larger is nearer), normal."""

    which: NDArray[np.int64]
    depth: Array
    normal: Array


def _nearest(triangles: Array, owner: NDArray[np.int64], size: int) -> _Shown:
    """The nearest triangle at each pixel of a square picture."""
    pixel, triangle, weights = _covered_pixels(triangles[..., :2], size)
    depth = sum(w * triangles[triangle, c, 2] for c, w in enumerate(weights.T))
    highest = np.full(size * size, -np.inf)
    np.maximum.at(highest, pixel, depth)
    wins = depth == highest[pixel]
    pixel, triangle, weights = pixel[wins], triangle[wins], weights[wins]
    which, normal = np.full(size * size, -1), np.zeros((size * size, 3))
    which[pixel] = owner[triangle]
    normal[pixel] = np.einsum("pc,pcv->pv", weights, triangles[triangle, :, 3:])
    highest[which < 0] = triangles[..., 2].min(initial=0) - 10 * _CREASE_MM
    return _Shown(
        which.reshape(size, size), highest.reshape(size, size), normal.reshape(size, size, 3)
    )


def _covered_pixels(
    corners: Array, size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """All pairs of a pixel and a triangle that covers its centre.

    Args:
        corners: Column and row of the corners of triangles, (T, 3, 2).
        size: Side of the picture.

    Returns:
        Index of the pixel (P,), of the triangle (P,), and what each corner weighs there (P, 3).
    """
    first = np.floor(corners.min(axis=1)).clip(0).astype(int)
    extent = np.ceil(corners.max(axis=1)).clip(None, size).astype(int) - first
    (ax, ay), (bx, by) = (corners[:, 1:] - corners[:, :1]).transpose(1, 2, 0)
    whole = ax * by - ay * bx
    usable = (extent.min(axis=1) > 0) & (whole != 0)
    parts = [(np.empty(0, int), np.empty(0, int), np.empty((0, 3)))]
    for width, height in np.unique(extent[usable], axis=0):
        group = np.flatnonzero(usable & (extent[:, 0] == width) & (extent[:, 1] == height))
        own = group[:, None]
        column = first[own, 0] + np.tile(np.arange(width), height)
        row = first[own, 1] + np.arange(height).repeat(width)
        x, y = column + 0.5 - corners[own, 0, 0], row + 0.5 - corners[own, 0, 1]
        second = (x * by[own] - y * bx[own]) / whole[own]
        third = (y * ax[own] - x * ay[own]) / whole[own]
        inside = (second >= 0) & (third >= 0) & (second + third <= 1)
        second, third = second[inside], third[inside]
        weights = np.stack([1 - second - third, second, third], axis=1)
        parts.append(
            ((row * size + column)[inside], own.repeat(inside.shape[1], 1)[inside], weights)
        )
    pixel, triangle, weights = (np.concatenate(column) for column in zip(*parts, strict=True))
    return pixel, triangle, weights


def _lit(colors: Array, normals: Array) -> Array:
    """Colours in the light, (n, 3), by Blinn and Phong's model."""
    unit = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    halfway = LIGHT + np.array([0, 0, 1])
    reflex = (unit @ halfway / np.linalg.norm(halfway)).clip(0) ** _SHININESS
    brightness = _AMBIENT + _DIFFUSE * (unit @ LIGHT).clip(0)
    return (colors * brightness[:, None] + _SPECULAR * reflex[:, None]).clip(0, 1)


def _creases(depth: Array, covered: NDArray[np.bool_]) -> Array:
    """Brightness of each pixel, less where its surroundings are nearer to the viewer."""
    near = depth[::_COARSE, ::_COARSE]
    there = covered[::_COARSE, ::_COARSE].astype(np.float64)
    sigma = _CREASE_WIDTH * len(near)
    around = gaussian_filter(near * there, sigma) / np.maximum(gaussian_filter(there, sigma), 1e-9)
    around = around.repeat(_COARSE, 0).repeat(_COARSE, 1)[: len(depth), : len(depth)]
    return 1 - _CREASES * ((around - depth) / _CREASE_MM).clip(0, 1)


def _outlines(shown: _Shown) -> Array:
    """Brightness of each pixel, less beside another structure or a jump in depth."""
    brightness = np.ones_like(shown.depth)
    for axis in (0, 1):
        jump = np.abs(np.diff(shown.depth, axis=axis)) > _OUTLINE_MM
        jump |= np.diff(shown.which, axis=axis) != 0
        near, far = (slice(None, -1), slice(1, None))
        brightness[(slice(None),) * axis + (near,)][jump] = _OUTLINE
        brightness[(slice(None),) * axis + (far,)][jump] = _OUTLINE
    return brightness
