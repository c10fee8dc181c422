"""What the paper prints: Table 1a and Table 1b (learning rate 10^-3, five splits)."""

import csv
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from gaborseg.study.names import AVERAGE

_HERE = Path(__file__).parent
PARAMETERS = {"conventional": 4.99e6, "gabor": 1.53e6, "mixed": 1.60e6}


class _Published(NamedTuple):
    """Mean and standard deviation over five splits of a test Dice, in [0, 1]."""

    mean: float
    std: float


@cache
def paper_dice() -> dict[tuple[str, str, str], _Published]:
    """Return Table 1b: by kernel, loss and structure (or ``average``)."""
    with (_HERE / "paper_dice.csv").open(newline="") as file:
        return {
            (row["kernel"], row["loss"], row["structure"]): _Published(
                float(row["dice_mean_percent"]) / 100, float(row["dice_std_percent"]) / 100
            )
            for row in csv.DictReader(file)
        }


def published(kernel: str, loss: str, structures: Sequence[str]) -> list[_Published | None]:
    """Return the paper's Dice of each structure, and at last of their average; None if it has none.

    Its average is of its own nineteen structures, and stands for no others.
    """
    found = [paper_dice().get((kernel, loss, structure)) for structure in structures]
    same = set(structures) == paper_sizes().keys()
    return [*found, paper_dice().get((kernel, loss, AVERAGE)) if same else None]


@cache
def paper_sizes() -> dict[str, float]:
    """Return Table 1a: each structure's share of the labelled voxels, in per cent."""
    with (_HERE / "paper_sizes.csv").open(newline="") as file:
        return {
            row["structure"]: float(row["relative_size_percent"]) for row in csv.DictReader(file)
        }
