"""A subject as several models segment it: slices and surfaces side by side (the paper's Fig. 4)."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

import nibabel as nib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from gaborseg.pictures.scene import PIXELS, Mesh, View, frame_of, render, structure_mesh
from gaborseg.pictures.slices import Window, literal, paint
from gaborseg.pictures.structure_colors import structure_colors
from gaborseg.scans import voxel_sides

BIG_TISSUES = ("cerebral_grey", "cerebral_white", "cerebellar_grey")
"""The big tissues, which would hide everything else in three dimensions."""
_TRUTH = "truth"
_MARGIN_MM = 8.0
"""Shown around the labelled part of a slice."""
COLUMNS, _COLUMN = 5, 2.6
"""Columns in a band of the figure, at most, and how wide one is in inches."""
_LEGEND_WIDTH, _LEGEND_ROW = 1.75, 0.19
"""Inches that an entry of the legend takes."""

_Labels = NDArray[np.integer]


def draw_subject(
    image: NDArray[np.floating],
    truth: _Labels,
    predictions: Mapping[str, _Labels],
    structures: Sequence[str],
    dice: Mapping[str, float],
    *,
    affine: NDArray[np.floating],
    title: str = "",
    hidden: Collection[str] = BIG_TISSUES,
    view: View | None = None,
    pixels: int = PIXELS,
) -> Figure:
    """Truth and predictions of a subject, a column each: an axial slice above, surfaces below.

    The slice is the one that shows most of the true structures. More than five columns go into
    several bands.

    Args:
        image: Scan, (X, Y, Z).
        truth: True label of each voxel, likewise; 0 is background.
        predictions: Predicted labels by the model's name, likewise, in the order of the columns.
        structures: Names of the labels 1 ... n.
        dice: Mean Dice in [0, 1] of each model, shown below its column.
        affine: Voxel index to world millimetres (RAS+), (4, 4).
        title: Heading of the figure.
        hidden: Structures without a surface below; all have one if none would be left.
        view: From where the surfaces are seen: from the left, a little behind and above by default.
        pixels: Side of the picture of the surfaces.

    Raises:
        ValueError: The volumes do not share one shape, or a label has no name.
    """
    maps = {_TRUTH: truth, **predictions}
    _check(image, maps, structures)
    scan = _Scan(image, maps, affine)
    colors = structure_colors(len(structures))
    shown = _with_surface(structures, hidden)
    columns = min(max(len(maps), 2), COLUMNS)
    bands = math.ceil(len(maps) / columns)
    entries = int(columns * _COLUMN / _LEGEND_WIDTH)
    height = bands * (2 * _COLUMN + 0.5) + 0.7 + math.ceil(len(structures) / entries) * _LEGEND_ROW
    figure = Figure(figsize=(columns * _COLUMN, height), layout="constrained")
    figure.suptitle(literal(title))
    panels = figure.subplots(2 * bands, columns, squeeze=False)
    for panel in panels.flat:
        panel.set(xticks=[], yticks=[])
        panel.spines[:].set_visible(False)
    above, below = (panels[row::2].flat[: len(maps)] for row in (0, 1))
    _draw_slices(above, scan)
    scenes = [_surfaces(labels, shown, scan.spacing) for labels in scan.maps.values()]
    _draw_surfaces(below, scenes, colors, view or View(), pixels)
    for name, panel in zip(maps, below, strict=True):
        if name in dice:
            panel.set_xlabel(f"Dice {100 * dice[name]:.1f} %")
    _draw_legend(figure, structures, shown, colors, entries)
    return figure


def _check(
    image: NDArray[np.floating], maps: Mapping[str, _Labels], structures: Sequence[str]
) -> None:
    for name, labels in maps.items():
        if labels.shape != image.shape:
            raise ValueError(
                f"{name} must have the image's shape {image.shape}, got {labels.shape}"
            )
        if labels.max(initial=0) > len(structures):
            raise ValueError(f"{name} must hold labels 0..{len(structures)}, got {labels.max()}")


class _Scan:
    """A subject turned to right, anterior, superior.

    Attributes:
        image: (X, Y, Z).
        maps: Label maps by name, likewise; the first is the truth.
        spacing: Millimetres from voxel to voxel along each axis.
    """

    def __init__(
        self,
        image: NDArray[np.floating],
        maps: Mapping[str, _Labels],
        affine: NDArray[np.floating],
    ) -> None:
        orientation = nib.orientations.io_orientation(affine)
        axes = np.argsort(orientation[:, 0])
        self.spacing = voxel_sides(affine)[axes]
        self.image = nib.orientations.apply_orientation(image, orientation)
        self.maps = {
            name: nib.orientations.apply_orientation(labels, orientation)
            for name, labels in maps.items()
        }
        self.truth = self.maps[_TRUTH]

    def richest_slice(self) -> int:
        """The axial slice that shows most of the structures, each relative to its largest area."""
        present = np.unique(self.truth[self.truth > 0])
        areas = [(self.truth == label).sum(axis=(0, 1)) for label in present]
        shares = [area / area.max() for area in areas]
        return int(np.argmax(np.sum(shares, axis=0))) if shares else self.truth.shape[2] // 2

    def frame(self) -> tuple[slice, slice]:
        """The part of an axial slice that holds all structures of the truth."""
        labelled = (self.truth > 0).any(axis=2)
        if not labelled.any():
            return slice(None), slice(None)
        x, y = (
            slice(max(0, hits[0] - margin), hits[-1] + 1 + margin)
            for hits, margin in (
                (np.flatnonzero(labelled.any(axis=1 - axis)), math.ceil(_MARGIN_MM / side))
                for axis, side in enumerate(self.spacing[:2])
            )
        )
        return x, y


def _draw_slices(panels: Iterable[Axes], scan: _Scan) -> None:
    """Draw the richest slice: front on top, the subject's left at the left."""
    part = (*scan.frame(), scan.richest_slice())
    aspect = scan.spacing[1] / scan.spacing[0]
    grey = Window.of(scan.image).grey(scan.image[part])
    for panel, (name, labels) in zip(panels, scan.maps.items(), strict=True):
        picture = paint(grey, labels[part]).transpose(1, 0, 2)
        panel.imshow(picture, origin="lower", aspect=aspect, interpolation="nearest")
        panel.set_title(literal(name))
        for x, side in ((0.03, "L"), (0.97, "R")):
            panel.text(x, 0.5, side, transform=panel.transAxes, color="0.6", ha="center", size=7)


def _with_surface(structures: Sequence[str], hidden: Collection[str]) -> list[int]:
    """Labels that have a surface: those that are not hidden, or all if none would be left."""
    every = range(1, len(structures) + 1)
    return [label for label in every if structures[label - 1] not in hidden] or list(every)


def _draw_surfaces(
    panels: Iterable[Axes],
    scenes: Sequence[Mapping[int, Mesh]],
    colors: NDArray[np.float64],
    view: View,
    pixels: int,
) -> None:
    """Draw scenes, whose meshes are known by their labels, all in the frame of the first."""
    framed = next((list(scene.values()) for scene in scenes if scene), None)
    if framed is None:
        return
    frame = frame_of(framed, view)
    for panel, scene in zip(panels, scenes, strict=True):
        own = colors[[label - 1 for label in scene]]
        panel.imshow(render(list(scene.values()), own, frame, view, pixels))


def _surfaces(
    labels: _Labels, shown: Sequence[int], spacing: NDArray[np.float64]
) -> dict[int, Mesh]:
    present = set(np.unique(labels).tolist())
    return {
        label: structure_mesh(labels == label, spacing.tolist())
        for label in shown
        if label in present
    }


def _draw_legend(
    figure: Figure,
    structures: Sequence[str],
    shown: Sequence[int],
    colors: NDArray[np.float64],
    entries: int,
) -> None:
    from gaborseg.study import readable  # imports pandas

    names = [literal(readable(name)) for name in structures]
    hidden = [name for label, name in enumerate(names, start=1) if label not in shown]
    figure.legend(
        handles=[Patch(color=color, label=name) for color, name in zip(colors, names, strict=True)],
        loc="outside lower center",
        ncols=entries,
        title=f"without surface: {', '.join(hidden)}" if hidden else None,
        fontsize="small",
        title_fontsize="small",
        frameon=False,
    )
