"""All prepared subjects on one picture: three planes each, the structures in colour."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gaborseg.data import Case, map_in_processes
from gaborseg.pictures.slices import Window, literal, paint, save_png
from gaborseg.scans import read_scan

COLUMNS, ROWS = 4, 25
"""Subjects beside and above one another on a sheet; more subjects go to further sheets."""
_INCHES = 1.2
"""Side of a plane, at 100 dots an inch."""
_OPACITY = 0.55
"""Less than elsewhere: there is no uncoloured scan beside it."""

_Tile = tuple[NDArray[np.float32], NDArray[np.uint8]]


def contact_sheets(output: Path, cases: Sequence[Case], processes: int | None = None) -> list[Path]:
    """Draw the first channel of all prepared cases and their labels; return the pictures' paths.

    Sagittal, coronal and axial planes through the middle of what is labelled. In the latter two the
    right of the picture is the right of the subject.
    """
    tiles = map_in_processes(tile, cases, title="Drawing the contact sheet", processes=processes)
    paths, most = [], COLUMNS * ROWS
    for start in range(0, len(cases), most):
        number = f"_{start // most + 1}" if start else ""
        paths.append(output / f"contact_sheet{number}.png")
        names = [case.subject for case in cases[start : start + most]]
        _draw_sheet(paths[-1], names, tiles[start : start + most])
    return paths


def tile(case: Case) -> _Tile:
    """Three planes of a prepared case, side by side: grey in 0..1 and labels, both (N, 3N)."""
    image, label = read_scan(case.images[0]).voxels, read_scan(case.label).voxels
    grey = Window.of(image).grey(image)
    centre = [int(where.mean()) if len(where) else len(label) // 2 for where in np.nonzero(label)]
    return planes(grey, centre), planes(label, centre)


def planes(volume: NDArray, centre: Sequence[int]) -> NDArray:
    """Sagittal, coronal and axial plane through a voxel, upright, side by side."""
    cuts = [volume.take(index, axis).T[::-1] for axis, index in enumerate(centre)]
    return np.concatenate(cuts, axis=1)


def _draw_sheet(path: Path, names: Sequence[str], tiles: Sequence[_Tile]) -> None:
    """Write a PNG with a tile and a name for each subject."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = min(COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    size = (columns * (3 * _INCHES + 0.1), rows * (_INCHES + 0.22))
    layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    figure = Figure(figsize=size, layout=layout, facecolor="black")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, name, (grey, labels) in zip(axes, names, tiles, strict=False):
        axis.imshow(paint(grey, labels, _OPACITY), interpolation="nearest")
        axis.set_title(literal(name[:40]), color="white", fontsize=7, pad=2)
    save_png(path, figure)
