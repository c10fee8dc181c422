"""A picture of a segmented scan: three planes, the structures in colour, their volumes beside."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gaborseg.machine import whole_file
from gaborseg.scans import PreparedGrid

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PLANES = (
    ("sagittal", "anterior", "superior"),
    ("coronal", "right", "superior"),
    ("axial", "right", "anterior"),
)
_OPACITY = 0.55
_GOLDEN = 0.618034
"""A step around the circle of hues that comes near no earlier colour for long."""


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
    figure.suptitle(title, color="white", fontsize=10)
    grid_of_axes = figure.add_gridspec(2, 4, width_ratios=[1, 1, 1, 0.55])
    window = np.quantile(scan[::4, ::4, ::4], [0.005, 0.995])
    for normal, (name, right, top) in enumerate(_PLANES):
        across, up = (other for other in range(3) if other != normal)
        planes = [volume.take(middle[normal], axis=normal).T for volume in (scan, found)]
        for row in range(2):
            axis = figure.add_subplot(grid_of_axes[row, normal])
            aspect = spacing[up] / spacing[across]
            _draw_plane(axis, planes[: row + 1], window, len(volumes), aspect)
            if row == 0:
                axis.set_title(f"{name}: {right} →, {top} ↑", color="white", fontsize=8)
    _draw_legend(figure.add_subplot(grid_of_axes[:, 3]), volumes)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


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


def _draw_plane(
    axis: "Axes", planes: list[NDArray], window: NDArray, count: int, aspect: float
) -> None:
    """Draw a plane of the scan, and of the labels over it if they are given."""
    scan, *found = planes
    axis.axis("off")
    low, high = window
    axis.imshow(scan, cmap="gray", origin="lower", aspect=aspect, vmin=low, vmax=high)
    for labels in found:
        axis.imshow(colours(count)[labels], origin="lower", aspect=aspect, interpolation="nearest")


def colours(count: int) -> NDArray[np.float64]:
    """Colour and opacity (RGBA) of each label, neighbours far apart in hue; label 0 has none."""
    from matplotlib.colors import hsv_to_rgb

    order = np.arange(count)
    hue, saturation = order * _GOLDEN % 1, np.where(order % 2, 0.6, 0.95)
    rgb = hsv_to_rgb(np.stack([hue, saturation, np.ones(count)], axis=-1))
    visible = np.column_stack([rgb, np.full(count, _OPACITY)])
    return np.vstack([np.zeros(4), visible])


def _draw_legend(axis: "Axes", volumes: Mapping[str, float]) -> None:
    """Name each structure in its colour, with its volume."""
    axis.axis("off")
    step = 1 / max(20, len(volumes))
    for place, (name, volume) in enumerate(volumes.items()):
        colour = colours(len(volumes))[place + 1][:3]
        text = f"{name.replace('_', ' ')}  {volume / 1000:.1f} ml"
        axis.text(0, 1 - (place + 0.5) * step, text, color=colour, fontsize=7, va="center")
