"""What a run's files say about it: waiting, running, stopped, failed or done, and how far it is."""

import contextlib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from gaborseg.machine import load_yaml, read_text, write_text
from gaborseg.runs.curves import read_curves
from gaborseg.runs.files import (
    RunFile,
    RunFileError,
    number,
    read_failure,
    read_outcome,
    read_settings,
)
from gaborseg.runs.lock import is_locked

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")
_TRAINER = re.compile(r"^trainer:\n( .*\n)+", re.MULTILINE)
"""The trainer's part of the settings, as a run writes them."""
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
    epochs = _epochs(_lenient(lambda: _trainer_settings(folder)))
    done = outcome(folder)
    if "epochs" in done:
        return RunState(Stage.DONE, done["epochs"], epochs, done.get("test_dice"))
    rows = list(_lenient(lambda: read_curves(folder / RunFile.CURVES)).values())
    if done:
        return RunState(Stage.DONE, len(rows), epochs, done.get("test_dice"))
    failed = _lenient(lambda: read_failure(folder))
    return RunState(
        stage=_stage(folder, failed),
        epoch=len(rows),
        epochs=epochs,
        dice=_present(rows[-1].get("val/dice")) if rows else None,
        seconds_left=_seconds_left(rows, epochs),
        message=failed.get("error", ""),
    )


def outcome(folder: Path) -> dict[str, Any]:
    """Return what a run noted at its end if it was tested; else nothing."""
    tested = (folder / RunFile.SCORES).exists()
    return _lenient(lambda: read_outcome(folder)) if tested else {}


def note_failure(folder: Path, error: BaseException | str) -> None:
    """Leave word of the error that ended a run; of several processes' errors the first stays."""
    message = next(iter(str(error).splitlines()), "") or type(error).__name__
    kind = type(error).__name__ if isinstance(error, BaseException) else ""
    with contextlib.suppress(OSError):  # a full disk may be what went wrong
        if folder.is_dir() and not (folder / RunFile.FAILURE).exists():
            text = json.dumps({"error": message, "kind": kind}) + "\n"
            write_text(folder / RunFile.FAILURE, text)


def _stage(folder: Path, failed: dict[str, Any]) -> Stage:
    if is_locked(folder):
        return Stage.RUNNING
    if failed:
        return Stage.FAILED
    return Stage.STOPPED if (folder / RunFile.SETTINGS).exists() else Stage.WAITING


def _seconds_left(rows: list[dict[str, str]], epochs: int | None) -> float | None:
    times = [_present(row.get("seconds")) for row in rows[-_RECENT:]]
    seconds = [time for time in times if time is not None]
    if not seconds or epochs is None:
        return None
    return median(seconds) * max(epochs - len(rows), 0)


def _present(cell: str | None) -> float | None:
    value = number(cell)
    return None if value is None or math.isnan(value) else value


def _lenient(read: Callable[[], dict[_Key, _Value]]) -> dict[_Key, _Value]:
    """Return what is read of a file; nothing if it is damaged."""
    with contextlib.suppress(RunFileError):
        return read()
    return {}


def _trainer_settings(folder: Path) -> dict[str, Any]:
    """Return a run's settings, or no more of them than the trainer's: that is much faster."""
    with contextlib.suppress(OSError, ValueError):
        if part := _TRAINER.search(read_text(folder / RunFile.SETTINGS)):
            return dict(load_yaml(part[0]))
    return read_settings(folder)


def _epochs(settings: Mapping[str, Any]) -> int | None:
    with contextlib.suppress(KeyError, TypeError, ValueError):
        return int(settings["trainer"]["max_epochs"])
    return None
