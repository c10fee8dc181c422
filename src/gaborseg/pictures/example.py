"""A picture of one subject: scan, truth and prediction in three orthogonal planes."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gaborseg.pictures.slices import Window, literal, paint, save_png

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
    figure.suptitle(literal(title), color="white")
    window = Window.of(np.concatenate([plane.ravel() for plane in example.image]))
    axes = figure.subplots(3, 3)
    for row, plane in enumerate(_PLANES):
        for column, name in enumerate(Example._fields):
            axis = axes[row, column]
            axis.axis("off")
            labels = 0 * example.truth[row] if name == "image" else getattr(example, name)[row]
            picture = paint(window.grey(example.image[row]), labels)
            axis.imshow(picture.transpose(1, 0, 2), origin="lower", interpolation="nearest")
            axis.set_title(f"{name}, {plane}", color="white", fontsize=9)
    save_png(path, figure)
