"""A picture of one subject: scan, truth and prediction in three orthogonal planes."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PLANES = ("sagittal", "coronal", "axial")


class Example(NamedTuple):
    """Central slices of a subject, each a list of the three planes' 2-D arrays."""

    image: list[NDArray[np.float32]]
    truth: list[NDArray[np.float32]]
    prediction: list[NDArray[np.float32]]


def example_slices(image: Tensor, truth: Tensor, prediction: Tensor) -> Example:
    """Return the central slices of image (I, *S; the first channel), truth and prediction (*S)."""
    return Example(*(_central_slices(volume) for volume in (image[0], truth, prediction)))


def _central_slices(volume: Tensor) -> list[NDArray[np.float32]]:
    cuts = (volume.select(axis, volume.shape[axis] // 2).float() for axis in range(3))
    return [cut.cpu().numpy() for cut in cuts]


def draw_example(path: Path, example: Example, title: str) -> None:
    """Write a PNG: a row a plane, columns scan, truth and prediction."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 9), layout="constrained", facecolor="black")
    figure.suptitle(title, color="white")
    axes = figure.subplots(3, 3)
    for row, plane in enumerate(_PLANES):
        for column, name in enumerate(Example._fields):
            axis = axes[row, column]
            axis.axis("off")
            axis.imshow(example.image[row].T, cmap="gray", origin="lower")
            if name != "image":
                _overlay(axis, getattr(example, name)[row])
            axis.set_title(f"{name}, {plane}", color="white", fontsize=9)
    figure.savefig(path, dpi=100)


def _overlay(axis: "Axes", labels: NDArray[np.float32]) -> None:
    shown = np.ma.masked_equal(labels.T, 0)
    axis.imshow(shown, cmap="tab20", vmin=0.5, vmax=20.5, origin="lower", interpolation="nearest")
