"""How every picture shows a slice: grey levels of the scan, colours of the structures."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaborseg.machine import printable, whole_file
from gaborseg.pictures.structure_colors import structure_colors

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PERCENTILES = (1, 99.5)
_MOST_VOXELS = 2**21
"""Voxels, evenly spread, that a window is taken from; more would change nothing that is seen."""


class Window(NamedTuple):
    """The intensities that are shown as black and as white."""

    black: float
    white: float

    @classmethod
    def of(cls, image: NDArray) -> "Window":
        """The window of an image: its darkest 1 % are black, its brightest 0.5 % white."""
        step = math.ceil((image.size / _MOST_VOXELS) ** (1 / image.ndim))
        seen = image[(slice(None, None, step),) * image.ndim]
        return cls(*np.percentile(seen, _PERCENTILES).tolist())

    def grey(self, image: NDArray) -> NDArray[np.float32]:
        """Grey levels in [0, 1] of an image, likewise shaped."""
        levels = (image - self.black) / max(self.white - self.black, 1e-6)
        return levels.clip(0, 1).astype(np.float32)


def paint(grey: NDArray, labels: NDArray, opacity: float = 0.72) -> NDArray[np.float64]:
    """A slice with its structures in colour, (H, W, 3) RGB in [0, 1].

    Args:
        grey: Grey levels, (H, W) in [0, 1].
        labels: Label of each pixel, likewise; 0 stays grey.
        opacity: Share of the colour where there is a structure, in [0, 1].
    """
    plain = np.repeat(grey[..., None], 3, axis=-1)
    labels = labels.astype(int)
    colors = np.concatenate([np.zeros((1, 3)), structure_colors(int(labels.max(initial=0)))])
    mixed = (1 - opacity) * plain + opacity * colors[labels]
    return np.where((labels > 0)[..., None], mixed, plain).clip(0, 1)


def literal(text: str) -> str:
    r"""Text that matplotlib draws letter by letter: it holds no formula.

    >>> literal(r"$\foo{$")
    '\\$\\foo{\\$'
    """
    return printable(text).replace("$", r"\$")


def save_png(path: Path, figure: "Figure", dpi: int = 100) -> None:
    """Write a figure as a PNG, whole or not at all."""
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=dpi, format="png")
