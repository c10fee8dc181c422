"""What an augmentation does to some subjects: the original beside several draws."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gaborseg.pictures.slices import Window, literal, paint, save_png

_INCHES = 1.7

_Sample = tuple[Tensor, Tensor]
"""An image (C, *S) and its label map (*S)."""


def draw_augmentation(path: Path, subjects: Mapping[str, Sequence[_Sample]], title: str) -> None:
    """Write a PNG: of each subject a row of scans and a row of labels, first the original.

    Axial slices of the first channel, all at the height that halves what is labelled in the
    original, with the grey levels of the original; the right of the picture is the right of the
    subject.

    Args:
        path: Where to.
        subjects: By subject the original, and the draws in their order.
        title: What stands above.
    """
    from matplotlib.figure import Figure

    columns = max(map(len, subjects.values()))
    size = (_INCHES * columns + 0.1, 2 * _INCHES * len(subjects) + 0.5)
    figure = Figure(figsize=size, layout="constrained", facecolor="black")
    figure.suptitle(literal(title), color="white", fontsize=10)
    axes = figure.subplots(2 * len(subjects), columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for row, (subject, samples) in enumerate(subjects.items()):
        window = Window.of(samples[0][0][0].numpy())
        height = _middle(samples[0][1].numpy())
        for column, (image, label) in enumerate(samples):
            grey, found = (volume[..., height].numpy().T for volume in (image[0], label))
            for axis, shown in zip(axes[2 * row :, column], (0 * found, found), strict=False):
                picture = paint(window.grey(grey), shown)
                axis.imshow(picture, origin="lower", interpolation="nearest")
            name = f"draw {column}" if column else literal(subject)
            axes[2 * row, column].set_title(name, color="white", fontsize=8)
    save_png(path, figure, dpi=90)


def _middle(label: NDArray) -> int:
    """The height that halves what is labelled; the middle if nothing is."""
    share = (label > 0).sum(axis=(0, 1)).cumsum()
    return int(np.searchsorted(share, share[-1] / 2)) if share[-1] else len(share) // 2
