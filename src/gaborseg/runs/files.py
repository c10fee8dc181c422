"""The files of a run folder: their names, and how those that hold a mapping are read."""

import contextlib
import csv
import io
import math
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

from gaborseg.machine import load_json, load_yaml, read_table, read_text
from gaborseg.runs.renames import as_saved_now

_LARGEST = {".yaml": 2**20, ".json": 2**24, ".csv": 2**28}
"""Bytes of a file that somebody else may have made; YAML takes seconds a megabyte."""


class RunFile(StrEnum):
    """The names of what a run folder holds, in the order in which a run writes them."""

    LOG = "train.log"  # what the run printed
    SETTINGS = "config.yaml"  # the resolved configuration
    RECORD = "run.json"  # name, choices, parameters, data, software
    CURVES = "metrics.csv"  # one row per epoch
    LAST = "last.ckpt"
    BEST = "best.ckpt"
    PREDICTIONS = "predictions"  # a folder: the label maps of the test subjects
    SCORES = (
        "subjects.csv"  # a row per test subject and structure: scores.py, from training/testing.py
    )
    EXAMPLE = "example.png"  # the median test subject
    CARD = "model_card.md"
    OUTCOME = "done.json"  # mean scores and cost; the last file of a run
    FAILURE = "failed.json"  # the error that ended it, if one did
    EVALUATION = "evaluation.json"  # takes the place of all records where a run was only scored


_TEXT, _NUMBER, _CHOICE = str | None, int | float | None, str | int | float | None
_WORDS = {
    dict: "a mapping",
    list: "a list",
    str: "text",
    int: "a whole number",
    _TEXT: "text",
    _NUMBER: "a number",
    _CHOICE: "text or a number",
}
_ANY = "*"  # every key that is not listed
_KINDS: dict[RunFile, dict[str, Any]] = {
    RunFile.SETTINGS: {"trainer": {"max_epochs": int}, "data": {}, "network": {}},
    RunFile.RECORD: {
        "id": str,
        "settings": str,
        "name": str,
        "choices": {_ANY: _CHOICE},
        "parameters": {_ANY: int},
        "data": {
            "name": str,
            "root": str,
            "roots": {_ANY: str},
            "structures": [str],
            "channels": [str],
            "size": [int],
            "spacing": [_NUMBER],
            "split": {_ANY: [str]},
        },
        "weights": {"path": str, "digest": str},
        "sessions": [{_ANY: _TEXT}],
        "versions": {_ANY: _TEXT},
        "monitor": {"name": str, "mode": str},
    },
    RunFile.OUTCOME: {
        "test_dice": _NUMBER,
        "test_subjects": int,
        "epochs": int,
        "nsd_tolerance": _NUMBER,
        "seconds_per_step": _NUMBER,
        "peak_memory_bytes": _NUMBER,
        "device": str,
        "energy_joules": _NUMBER,
        "energy_of": _TEXT,
        "metrics": {_ANY: _NUMBER},
        "best": {"name": str, "mode": str, "epoch": int, "value": _NUMBER},
        "stopped_early": {"epoch": int, "epochs": int, "by": str, "reason": str},
    },
    RunFile.FAILURE: {"error": str, "kind": str},
}
"""Of what kind the values are that somebody uses; a list has values of one kind."""
_LARGEST_NUMBER = 2**63


class RunFileError(ValueError):
    """A file of a run that cannot be used; the message names it and says why, in one line."""


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Name the file in whatever goes wrong while it is read.

    Raises:
        RunFileError: If the block raises what a missing or damaged file makes it raise.
    """
    try:
        yield
    except RunFileError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RunFileError(f"{path.name} cannot be read: {reason}") from error


def read_settings(folder: Path) -> dict[str, Any]:
    """Return a run's resolved configuration, as this version would have saved it; empty if missing.

    Raises:
        RunFileError: If the file is damaged, too large, or holds no mapping.
    """
    return as_saved_now(_read_mapping(folder / RunFile.SETTINGS))


def read_record(folder: Path) -> dict[str, Any]:
    """Return a run's name, choices, parameters, data and sessions; empty before it has begun.

    Raises:
        RunFileError: If the file is damaged, too large, or holds no mapping.
    """
    return _read_mapping(folder / RunFile.RECORD)


def read_outcome(folder: Path) -> dict[str, Any]:
    """Return a finished run's mean scores and cost; empty if it is not finished.

    Raises:
        RunFileError: If the file is damaged, too large, or holds no mapping.
    """
    return _read_mapping(folder / RunFile.OUTCOME)


def read_failure(folder: Path) -> dict[str, Any]:
    """Return the error that ended a run and its kind; empty if none did.

    Raises:
        RunFileError: If the file is damaged, too large, or holds no mapping.
    """
    return _read_mapping(folder / RunFile.FAILURE)


def open_table(path: Path) -> "csv.DictReader[str]":
    """Return the rows of a csv file, read within bounds.

    Raises:
        OSError: It cannot be read.
        ValueError: It is too large, no regular file, or has a column twice.
    """
    return read_table(io.StringIO(read_text(path, _LARGEST[".csv"]), newline=""))


def _read_mapping(path: Path) -> dict[str, Any]:
    with reading(path):
        if not path.exists():
            return {}
        text = read_text(path, _LARGEST[path.suffix])
        content = load_json(text) if path.suffix == ".json" else load_yaml(text)
    if not isinstance(content, dict):
        raise RunFileError(f"{path.name} must hold a mapping, got {type(content).__name__}")
    _check_kind(path.name, "", content, _KINDS[RunFile(path.name)])
    return content


def _check_kind(file: str, key: str, value: object, kind: Any) -> None:
    """Check that a value in a file, and what is in it, is of a kind.

    Raises:
        RunFileError: If it is not.
    """
    if isinstance(kind, dict) and isinstance(value, dict):
        for name, part in value.items():
            if (inner := kind.get(name, kind.get(_ANY))) is not None:
                _check_kind(file, f"{key}.{name}".lstrip("."), part, inner)
    elif isinstance(kind, list) and isinstance(value, list):
        for part in value:
            _check_kind(file, key, part, kind[0])
    elif isinstance(kind, dict | list) or not _is(value, kind):
        of_parts = isinstance(kind, dict | list)
        wanted = _WORDS[type(kind) if of_parts else kind]
        got = type(value).__name__ if of_parts else repr(value)[:80]
        raise RunFileError(f"{file}: {key} must be {wanted}, got {got}")


def _is(value: object, kind: Any) -> bool:
    """Return whether a value is of a kind, and no number that is too large to be shown."""
    if isinstance(value, bool) or not isinstance(value, kind):
        return False
    return not isinstance(value, int) or abs(value) < _LARGEST_NUMBER


def number(cell: str | None) -> float | None:
    """Return a cell of a file as a number: NaN if it is empty, None if it holds anything else."""
    try:
        return float(cell) if cell else math.nan
    except ValueError:
        return None
