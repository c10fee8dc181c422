"""The values of the validation that choose a run's best epoch and compare runs in a search."""

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gaborseg.runs.curves import read_curves
from gaborseg.runs.files import RunFile, RunFileError, number, read_record

MONITOR = "val/dice"
_LOSS = "val/loss"
_LOSSES = ("train/loss", _LOSS)
_MODES = ("max", "min")
_OWN = "val/"  # begins the name under which a metric of the user's own is logged
_CSV = "CsvLogger"


class Monitor(NamedTuple):
    """What chooses the epoch whose weights a run keeps and tests.

    Attributes:
        name: A column of ``metrics.csv``.
        mode: Which of its values is the best: the highest (``"max"``) or the lowest (``"min"``).
    """

    name: str = MONITOR
    mode: str = "max"

    @property
    def worst(self) -> float:
        """Return what any number is better than."""
        return -math.inf if self.mode == "max" else math.inf

    def is_better(self, value: float, other: float) -> bool:
        """Return whether a value is better than another; NaN never is."""
        return value > other if self.mode == "max" else value < other

    def best(self, values: Sequence[float | None]) -> int:
        """Return the position of the best value; NaN and None are the worst.

        Of several that are equal it is the first, as of the epochs whose weights are kept.

        Example:
            >>> from gaborseg.runs import Monitor
            >>> Monitor("val/loss", "min").best([0.5, math.nan, 0.3, 0.3])
            2
        """
        best = 0
        scores = [self.worst if v is None or math.isnan(v) else v for v in values]
        for position, score in enumerate(scores):
            if self.is_better(score, scores[best]):
                best = position
        return best


def choose_monitor(
    name: object,
    mode: object = None,
    metrics: Mapping[str, str | None] | None = None,
    structures: Sequence[str] | None = None,
) -> Monitor:
    """Return what chooses the best epoch, with what is better of it.

    Args:
        name: A score of the validation, as ``metrics.csv`` calls it.
        mode: ``"max"`` or ``"min"``; None: as is known of the score.
        metrics: The user's own, by name, and of each its mode if that is known.
        structures: Those of the data, once they are known: each has its own validation Dice.

    Raises:
        ValueError: Nothing logs such a score of the validation, or it is not known which of its
            values is better.
    """
    metrics = metrics or {}
    _refuse_test("monitor", name)
    if name in _LOSSES[:1] or not _is_logged(name, metrics, structures):
        raise ValueError(f"monitor must be {_choices((_LOSS,), metrics)}, got {name}")
    if mode not in (None, *_MODES):
        raise ValueError(f"monitor_mode must be max, min or null, got {mode}")
    own = str(name).removeprefix(_OWN)
    known = metrics.get(own, "min" if name == _LOSS else "max")
    if own not in metrics and mode not in (None, known):
        raise ValueError(f"monitor_mode must be {known} with monitor={name}, got {mode}")
    if mode is None and known is None:
        raise ValueError(
            f"monitor_mode must be given with monitor={name}, whose class does not say which "
            "values are better: add monitor_mode=max or monitor_mode=min"
        )
    return Monitor(str(name), str(mode or known))


def _refuse_test(key: str, name: object) -> None:
    if str(name).startswith("test/"):
        raise ValueError(
            f"{key} must not be a score of the test, on which nothing may be selected, "
            f"got {name}: use {MONITOR}"
        )


def _is_logged(
    name: object, metrics: Collection[str], structures: Sequence[str] | None = None
) -> bool:
    """Return whether a run logs a value every epoch that something may be selected by."""
    structure = str(name).removeprefix(f"{MONITOR}/")
    of_structure = structure in structures if structures is not None else structure != name
    own = [f"{_OWN}{metric}" for metric in metrics]
    return name in (MONITOR, *_LOSSES, *own) or of_structure


def _choices(losses: Sequence[str], metrics: Collection[str]) -> str:
    own = [f"{_OWN}{metric}" for metric in metrics]
    names = [MONITOR, f"{MONITOR}/STRUCTURE", *losses, *own]
    return f"{', '.join(names[:-1])} or {names[-1]}"


def monitor_in(record: Mapping[str, Any]) -> Monitor:
    """Return what has chosen the best epoch of a run, as its ``run.json`` tells.

    Runs of before there was a choice say nothing: they kept the highest validation Dice.

    Raises:
        RunFileError: If what it tells makes no sense.
    """
    told = record.get("monitor") or {}
    found = Monitor(told.get("name", MONITOR), told.get("mode", "max"))
    if found.mode not in _MODES:
        raise RunFileError(f"{RunFile.RECORD}: monitor.mode must be max or min, got {found.mode}")
    return found


def check_objective(
    name: object,
    structures: Sequence[str] | None = None,
    metrics: Collection[str] = (),
    key: str = "objective",
) -> None:
    """Check that a search, or a callback that ends a training, may look at a metric.

    Args:
        name: A column of ``metrics.csv``.
        structures: Those of the data, once they are known: each has its own validation Dice.
        metrics: Names of the user's own.
        key: The setting that names it.

    Raises:
        ValueError: It is a score of the test, or nothing logs it.
    """
    _refuse_test(key, name)
    if not _is_logged(name, metrics, structures):
        raise ValueError(f"{key} must be {_choices(_LOSSES, metrics)}, got {name}")


def check_searchable(config: Mapping[str, Any], direction: str, mode: str | None = None) -> None:
    """Check that a run of a configuration can be compared with others in a search.

    Args:
        config: The run's, plain.
        direction: Whether a high or a low objective is good: ``"maximize"`` or ``"minimize"``.
        mode: The same, ``"max"`` or ``"min"``, of an objective of the user's own if it is known.

    Raises:
        ValueError: The direction is not that of the objective, or the run writes no
            ``metrics.csv``.
    """
    name = config["objective"]
    own = str(name).removeprefix(_OWN) in (config.get("metrics") or {})
    known = mode if own else "min" if name in _LOSSES else "max"
    right = {"min": "minimize", "max": "maximize"}.get(str(known), direction)
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
    monitor = monitor_in(read_record(folder))
    best = rows[monitor.best([number(row.get(monitor.name)) for row in rows])]
    return number(best[name]) if best.get(name) else None
