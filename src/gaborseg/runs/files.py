"""The files of a run folder: their names, and how those that hold a mapping are read."""

import contextlib
import csv
import math
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

from gaborseg.machine import load_json, load_yaml, read_text
from gaborseg.runs.renames import as_saved_now

_LARGEST = {".yaml": 2**20, ".json": 2**24}
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


def _read_mapping(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    with reading(path):
        text = read_text(path, _LARGEST[path.suffix])
        content = load_json(text) if path.suffix == ".json" else load_yaml(text)
    if not isinstance(content, dict):
        raise RunFileError(f"{path.name} must hold a mapping, got {type(content).__name__}")
    return content


def number(cell: str | None) -> float | None:
    """Return a cell of a file as a number: NaN if it is empty, None if it holds anything else."""
    try:
        return float(cell) if cell else math.nan
    except ValueError:
        return None
