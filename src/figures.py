"""Fig. 1 of the paper, recomputed from its equations.

    python -m src.figures output=DIR

Writes ``sinusoids`` (Fig. 1a: what eq. (2) multiplies the Gaussian envelope with) and ``losses``
(Fig. 1b: PCC and Dice loss from random to perfect scores), each as SVG, PNG and csv.
"""

import csv
import logging
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import hydra
import numpy as np
from matplotlib.figure import Figure
from omegaconf import DictConfig

from src.analysis.chart_style import chart_look
from src.analysis.first_figure import (
    REACH,
    SINUSOIDS,
    draw_losses,
    draw_sinusoids,
    simulated_losses,
    sinusoidal_factor,
)
from src.command import errors_in_log, mistakes_as_user_errors, quote_values, run_command
from src.runs import write_atomically

log = logging.getLogger(__name__)

OFFSETS = np.linspace(-REACH, REACH, 20 * REACH + 1)


@hydra.main(version_base="1.3", config_path="../conf", config_name="figures")
def main(config: DictConfig) -> None:
    """Compute and draw the two parts of the figure, and write them down."""
    with errors_in_log(), mistakes_as_user_errors():
        write_figures(Path(config.output), [*config.object_sides], config.steps, config.seed)


def write_figures(folder: Path, object_sides: Sequence[int], steps: int, seed: int) -> None:
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
    folder.mkdir(parents=True, exist_ok=True)
    factors = [sinusoidal_factor(OFFSETS, sinusoid) for sinusoid in SINUSOIDS.values()]
    names = [name.replace(", ", "_").replace(" ", "_") for name in SINUSOIDS]
    _write_numbers(folder / "sinusoids.csv", ["offset", *names], [OFFSETS, *factors])
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


if __name__ == "__main__":
    sys.argv[1:] = quote_values(sys.argv[1:], ("output",))
    run_command(main)
