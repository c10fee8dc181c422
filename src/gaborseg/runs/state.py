"""What a run's files say about it: waiting, running, stopped, failed or done, and how far it is."""

import contextlib
import csv
import json
import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from gaborseg.runs.lock import is_locked

FAILED = "failed.json"
_RECENT = 10  # epochs whose time tells how long the others will take


class Stage(StrEnum):
    """Where a run stands."""

    WAITING = "waiting"
    RUNNING = "running"
    STOPPED = "stopped"  # half done, and nobody works on it
    FAILED = "failed"
    DONE = "done"


@dataclass(frozen=True)
class RunState:
    """A run as its files tell it.

    Attributes:
        stage: Where it stands.
        epoch: Number of finished epochs.
        epochs: How many there will be, if it is known.
        dice: Mean test Dice if it is done, else validation Dice of the last epoch, in [0, 1].
        seconds_left: Estimate from the last epochs, for runs that are not done.
        message: Why it failed.
    """

    stage: Stage
    epoch: int = 0
    epochs: int | None = None
    dice: float | None = None
    seconds_left: float | None = None
    message: str = ""


def read_state(folder: Path) -> RunState:
    """Return the state of a run folder, whatever it lacks."""
    rows = _rows(folder / "metrics.csv")
    epochs = _epochs(folder / "config.yaml")
    if done := outcome(folder):
        return RunState(Stage.DONE, done.get("epochs", len(rows)), epochs, done.get("test_dice"))
    failed = _json(folder / FAILED)
    return RunState(
        stage=_stage(folder, failed),
        epoch=len(rows),
        epochs=epochs,
        dice=_number(rows[-1].get("val/dice")) if rows else None,
        seconds_left=_seconds_left(rows, epochs),
        message=failed.get("error", ""),
    )


def outcome(folder: Path) -> dict[str, Any]:
    """Return what ``done.json`` says of a run that has ended and was tested; else nothing."""
    return _json(folder / "done.json") if (folder / "subjects.csv").exists() else {}


def note_failure(folder: Path, error: BaseException | str) -> None:
    """Leave word of the error that ended a run; of several processes' errors the first stays."""
    message = next(iter(str(error).splitlines()), "") or type(error).__name__
    kind = type(error).__name__ if isinstance(error, BaseException) else ""
    temporary = folder / f".{FAILED}.{os.getpid()}"
    with contextlib.suppress(OSError):  # a full disk may be what went wrong
        if not (folder / FAILED).exists():
            temporary.write_text(json.dumps({"error": message, "kind": kind}) + "\n")
            temporary.replace(folder / FAILED)


def _stage(folder: Path, failed: dict[str, Any]) -> Stage:
    if is_locked(folder):
        return Stage.RUNNING
    if failed:
        return Stage.FAILED
    return Stage.STOPPED if (folder / "config.yaml").exists() else Stage.WAITING


def _seconds_left(rows: list[dict[str, str]], epochs: int | None) -> float | None:
    times = [_number(row.get("seconds")) for row in rows[-_RECENT:]]
    seconds = [time for time in times if time is not None]
    if not seconds or epochs is None:
        return None
    return median(seconds) * max(epochs - len(rows), 0)


def _number(text: str | None) -> float | None:
    with contextlib.suppress(ValueError):
        return float(text) if text else None
    return None


def _rows(path: Path) -> list[dict[str, str]]:
    with contextlib.suppress(OSError, ValueError, csv.Error), path.open(newline="") as file:
        return list(csv.DictReader(file))
    return []


def _json(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        record = json.loads(path.read_text())
        return record if isinstance(record, dict) else {}
    return {}


def _epochs(path: Path) -> int | None:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with contextlib.suppress(OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
        return int(yaml.load(path.read_text(), loader)["trainer"]["max_epochs"])
    return None
