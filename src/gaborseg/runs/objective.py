"""The value by which runs are compared in a search: one of the validation, never of the test."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gaborseg.runs.curves import read_curves
from gaborseg.runs.files import RunFile, number

MONITOR = "val/dice"
_LOSSES = ("train/loss", "val/loss")
_CSV = "CsvLogger"


def check_objective(name: object, structures: Sequence[str] | None = None) -> None:
    """Check that a search may look at a metric.

    Args:
        name: A column of ``metrics.csv``.
        structures: Those of the data, once they are known: each has its own validation Dice.

    Raises:
        ValueError: It is a score of the test, or nothing logs it.
    """
    if str(name).startswith("test/"):
        raise ValueError(
            f"objective must not be a score of the test, on which nothing may be selected, "
            f"got {name}: use {MONITOR}"
        )
    structure = str(name).removeprefix(f"{MONITOR}/")
    known = structure in structures if structures is not None else structure != name
    if name not in (MONITOR, *_LOSSES) and not known:
        raise ValueError(
            f"objective must be {MONITOR}, {MONITOR}/STRUCTURE, {' or '.join(_LOSSES)}, got {name}"
        )


def check_searchable(config: Mapping[str, Any], direction: str) -> None:
    """Check that a run of a configuration can be compared with others in a search.

    Args:
        config: The run's, plain.
        direction: Whether a high or a low objective is good: ``"maximize"`` or ``"minimize"``.

    Raises:
        ValueError: The direction is not that of the objective, or the run writes no
            ``metrics.csv``.
    """
    name = config["objective"]
    right = "minimize" if name in _LOSSES else "maximize"
    if direction != right:
        raise ValueError(
            f"hydra.sweeper.direction must be {right} with objective={name}, got {direction}"
        )
    targets = [str(node.get("_target_")) for node in (config["logger"] or {}).values()]
    if not any(target.endswith(_CSV) for target in targets):
        raise ValueError("logger must write metrics.csv for a search to read: add logger=csv")


def objective_value(folder: Path, name: str, epochs: int | None = None) -> float | None:
    """Return a metric of a run at its best epoch, the one whose weights are kept and tested.

    Args:
        folder: The run's.
        name: A column of its ``metrics.csv``.
        epochs: How many epochs count, from the first on; all by default.

    Returns:
        None if there is no such row or column, as before the first epoch is over.

    Raises:
        RunFileError: If the file is damaged.
    """
    curves = read_curves(folder / RunFile.CURVES)
    rows = [row for epoch, row in sorted(curves.items()) if epochs is None or epoch < epochs]
    if not rows:
        return None
    best = max(
        rows, key=lambda row: _score(row.get(MONITOR))
    )  # the first of several that are equal
    return number(best[name]) if best.get(name) else None


def _score(cell: str | None) -> float:
    """Return a cell as a score to be maximised; what is no number is the worst."""
    value = number(cell)
    return -math.inf if value is None or math.isnan(value) else value
