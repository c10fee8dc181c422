"""What a run's files say about it: waiting, running, stopped, failed or done, and how far it is."""

import contextlib
import json
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from gaborseg.machine import read_text, write_text
from gaborseg.runs.curves import read_last_epochs
from gaborseg.runs.files import (
    RunFile,
    RunFileError,
    number,
    read_failure,
    read_outcome,
    read_settings,
)
from gaborseg.runs.lock import is_locked
from gaborseg.runs.scores import check_rows

_Value = TypeVar("_Value")
_MAX_EPOCHS = re.compile(r"^trainer:\n(?: .*\n)*?  max_epochs: (\d+)\n", re.MULTILINE)
"""The number of epochs in the settings, as a run writes it."""
_NOTHING: dict[str, Any] = {}
_NO_EPOCHS: tuple[int, list[dict[str, str]]] = (0, [])
_RECENT = 10  # epochs whose time tells how long the others will take


class Stage(StrEnum):
    """Where a run stands."""

    WAITING = "waiting"
    RUNNING = "running"
    STOPPED = "stopped"  # half done, and nobody works on it
    PAUSED = "paused"  # half done, and that is all that was asked for; its files say: stopped
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
        problems: What of its files cannot be read, or is lost.
        early_end: How it ended before it had all epochs, if it did.
    """

    stage: Stage
    epoch: int = 0
    epochs: int | None = None
    dice: float | None = None
    seconds_left: float | None = None
    message: str = ""
    problems: tuple[str, ...] = ()
    early_end: str = ""


def read_state(folder: Path) -> RunState:
    """Return the state of a run folder, whatever it lacks; what cannot be read is a problem."""
    problems: list[str] = []
    epochs = _max_epochs(folder, problems)
    done = _lenient(lambda: _outcome(folder), _NOTHING, problems)
    if "epochs" in done:
        return RunState(
            stage=Stage.DONE,
            epoch=done["epochs"],
            epochs=epochs,
            dice=done.get("test_dice"),
            problems=tuple(problems),
            early_end=early_end_line(done.get("stopped_early") or {}),
        )
    curves = folder / RunFile.CURVES
    epoch, rows = _lenient(lambda: read_last_epochs(curves, _RECENT), _NO_EPOCHS, problems)
    if done:
        return RunState(Stage.DONE, epoch, epochs, done.get("test_dice"), problems=tuple(problems))
    failed = _lenient(lambda: read_failure(folder), _NOTHING, problems)
    return RunState(
        stage=_stage(folder, failed),
        epoch=epoch,
        epochs=epochs,
        dice=_present(rows[-1].get("val/dice")) if rows else None,
        seconds_left=_seconds_left(rows, epoch, epochs),
        message=failed.get("error", ""),
        problems=tuple(problems),
    )


def early_end_line(told: Mapping[str, Any]) -> str:
    """Return how a training ended before it had all its epochs; empty if it had.

    Args:
        told: What ``done.json`` holds of it, as ``stopped_early``.

    Example:
        >>> early_end_line({"epoch": 2, "epochs": 40, "by": "Timer", "reason": "its time was over"})
        'stopped early after epoch 2 of 40 by Timer: its time was over'
    """
    if not told:
        return ""
    line = f"stopped early after epoch {told.get('epoch')} of {told.get('epochs')}"
    reason = f": {told['reason']}" if told.get("reason") else ""
    return f"{line} by {told.get('by', 'a callback')}{reason}"


def _outcome(folder: Path) -> dict[str, Any]:
    """Return what a run noted at its end if a table of its scores is there; else nothing.

    Raises:
        RunFileError: If one of the two files is damaged, or rows of the table are lost.
    """
    if done := read_outcome(folder):
        check_rows(folder / RunFile.SCORES, done.get("test_subjects"))
    return done


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
    return Stage.STOPPED if os.path.exists(folder / RunFile.SETTINGS) else Stage.WAITING


def _seconds_left(rows: list[dict[str, str]], epoch: int, epochs: int | None) -> float | None:
    times = [_present(row.get("seconds")) for row in rows]
    seconds = [time for time in times if time is not None]
    if not seconds or epochs is None:
        return None
    return median(seconds) * max(epochs - epoch, 0)


def _present(cell: str | None) -> float | None:
    value = number(cell)
    return None if value is None or math.isnan(value) else value


def _lenient(read: Callable[[], _Value], default: _Value, problems: list[str]) -> _Value:
    """Return what is read of a file; the default if it is damaged, which is a problem more."""
    try:
        return read()
    except RunFileError as error:
        problems.append(str(error))
        return default


def _max_epochs(folder: Path, problems: list[str]) -> int | None:
    """Return how many epochs a run is to have; to read all its settings would take long."""
    with contextlib.suppress(OSError, ValueError):
        if found := _MAX_EPOCHS.search(read_text(folder / RunFile.SETTINGS)):
            return int(found[1])
    settings = _lenient(lambda: read_settings(folder), _NOTHING, problems)
    epochs = settings.get("trainer", {}).get("max_epochs")
    return epochs if isinstance(epochs, int) else None
