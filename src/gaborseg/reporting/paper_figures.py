"""The work of `figures`: Fig. 1 of the paper as pictures and numbers."""

import csv
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from gaborseg.machine import write_atomically
from gaborseg.pictures import (
    REACH,
    SINUSOIDS,
    draw_losses,
    draw_sinusoids,
    simulated_losses,
    sinusoidal_factor,
)
from gaborseg.reporting.chart_style import chart_look

log = logging.getLogger(__name__)


_OFFSETS = np.linspace(-REACH, REACH, 20 * REACH + 1)


def write_paper_figures(folder: Path, object_sides: Sequence[int], steps: int, seed: int) -> None:
    """Write both parts as pictures and numbers.

    Args:
        folder: Where to; it is made if need be.
        object_sides: Sides of the cubic objects of Fig. 1b, in voxels of 100.
        steps: Points along the simulated training.
        seed: Seed of its scores.

    Raises:
        ValueError: An object does not fit, or there are fewer than 2 steps.
        OSError: The folder cannot be written to.
    """
    curves = simulated_losses(object_sides, steps=steps, seed=seed)
    factors = [sinusoidal_factor(_OFFSETS, sinusoid) for sinusoid in SINUSOIDS.values()]
    names = [name.replace(", ", "_").replace(" ", "_") for name in SINUSOIDS]
    _write_numbers(folder / "sinusoids.csv", ["offset", *names], [_OFFSETS, *factors])
    names = [f"{loss}_m{side}" for loss in ("pcc", "dice") for side in object_sides]
    columns = [curves.mean_score, *curves.pcc, *curves.dice]
    _write_numbers(folder / "losses.csv", ["mean_score", *names], columns)
    with chart_look():
        _write_picture(folder / "sinusoids", draw_sinusoids())
        _write_picture(folder / "losses", draw_losses(curves, object_sides))
    log.info(f"Written to {folder}: sinusoids and losses, each as .svg, .png and .csv")


def _write_numbers(path: Path, names: Sequence[str], columns: Iterable[Iterable[float]]) -> None:
    with write_atomically(path) as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows([f"{value:.6g}" for value in row] for row in zip(*columns, strict=True))


def _write_picture(stem: Path, figure: Figure) -> None:
    for kind in ("svg", "png"):
        with write_atomically(stem.with_suffix(f".{kind}"), "wb") as file:
            figure.savefig(file, format=kind)
