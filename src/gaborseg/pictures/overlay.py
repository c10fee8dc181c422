"""A picture of a segmented scan: three planes, the structures in colour, their volumes beside."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gaborseg.pictures.slices import Window, literal, paint, save_png
from gaborseg.pictures.structure_colors import structure_colors
from gaborseg.scans import PreparedGrid

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PLANES = (
    ("sagittal", "anterior", "superior"),
    ("coronal", "right", "superior"),
    ("axial", "right", "anterior"),
)


def draw_overlay(
    path: Path,
    image: Tensor,
    labels: Tensor,
    grid: PreparedGrid,
    volumes: Mapping[str, float],
    title: str,
) -> None:
    """Write a PNG: sagittal, coronal and axial plane through the middle of what was found.

    Args:
        path: Where to.
        image: (D, H, W), the scan's first channel.
        labels: (D, H, W).
        grid: Tells which axis of the scan runs where.
        volumes: Volume of each structure, mm^3, in the order of the labels 1, 2, ...
        title: What stands above.
    """
    from matplotlib.figure import Figure

    scan, found = canonical(image, grid), canonical(labels, grid)
    spacing = grid.scan_spacing[list(grid.axes)]
    middle = _centre_of(found)
    figure = Figure(figsize=(12, 7.5), layout="constrained", facecolor="black")
    figure.suptitle(literal(title), color="white", fontsize=10)
    grid_of_axes = figure.add_gridspec(2, 4, width_ratios=[1, 1, 1, 0.55])
    window = Window.of(scan)
    for normal, (name, right, top) in enumerate(_PLANES):
        across, up = (other for other in range(3) if other != normal)
        grey, colored = (volume.take(middle[normal], axis=normal).T for volume in (scan, found))
        for row, shown in enumerate((0 * colored, colored)):
            axis = figure.add_subplot(grid_of_axes[row, normal])
            axis.axis("off")
            picture = paint(window.grey(grey), shown)
            aspect = spacing[up] / spacing[across]
            axis.imshow(picture, origin="lower", aspect=aspect, interpolation="nearest")
            if row == 0:
                axis.set_title(f"{name}: {right} →, {top} ↑", color="white", fontsize=8)
    _draw_legend(figure.add_subplot(grid_of_axes[:, 3]), volumes)
    save_png(path, figure, dpi=110)


def canonical(volume: Tensor, grid: PreparedGrid) -> NDArray:
    """A volume of the scan with its axes towards right, anterior, superior, unflipped ones too."""
    turned = grid.canonical(volume)
    steps = np.diag(grid.scan_from_prepared[list(grid.axes), :3])
    return turned.flip([axis for axis in range(3) if steps[axis] < 0]).numpy()


def _centre_of(found: NDArray) -> list[int]:
    """The plane along each axis that halves what was found; the middle if nothing was."""
    centre = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        share = (found > 0).sum(axis=others).cumsum()
        half = int(np.searchsorted(share, share[-1] / 2)) if share[-1] else len(share) // 2
        centre.append(half)
    return centre


def _draw_legend(axis: "Axes", volumes: Mapping[str, float]) -> None:
    """Name each structure beside its colour, with its volume."""
    axis.axis("off")
    step = 1 / max(20, len(volumes))
    colors = structure_colors(len(volumes))
    for place, (color, (name, volume)) in enumerate(zip(colors, volumes.items(), strict=True)):
        height = 1 - (place + 0.5) * step
        text = f"{name.replace('_', ' ')}  {volume / 1000:.1f} ml"
        axis.text(0, height, "■", color=color, fontsize=9, va="center")
        axis.text(0.08, height, literal(text), color="white", fontsize=7, va="center")
