"""Training curves as a file: one row per epoch, one column per metric."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gaborseg.machine import read_table, read_text, write_atomically
from gaborseg.runs.files import RunFileError, number, open_table, reading

EPOCH = "epoch"


def write_curves(path: Path, epochs: Mapping[int, Mapping[str, Any]]) -> None:
    """Write a ``metrics.csv``: the metrics of every epoch, in the order of the epochs."""
    columns = dict.fromkeys([EPOCH, *(name for row in epochs.values() for name in row)])
    with write_atomically(path) as file:
        writer = csv.DictWriter(file, list(columns), restval="")
        writer.writeheader()
        for epoch in sorted(epochs):
            writer.writerow({**epochs[epoch], EPOCH: epoch})


def read_curves(path: Path) -> dict[int, dict[str, str]]:
    """Return the cells of a ``metrics.csv`` by epoch, as they are written; empty if missing.

    A row that is cut short is left out: its last cell may be too.

    Raises:
        RunFileError: If the file is damaged, or a row does not say of which epoch it is.
    """
    with reading(path):
        if not path.exists():
            return {}
        rows = list(open_table(path))
    return {epoch_of(row, path.name): row for row in rows if None not in row.values()}


def read_last_epochs(path: Path, most: int) -> tuple[int, list[dict[str, str]]]:
    """Return how many epochs a ``metrics.csv`` has, and the cells of the last ones.

    Raises:
        RunFileError: If the file is damaged, or one of them does not say of which epoch it is.
    """
    with reading(path):
        if not path.exists():
            return 0, []
        header, *lines = read_text(path).splitlines() or [""]
        rows = list(read_table([header, *lines[-most:]]))
    for row in rows:
        epoch_of(row, path.name)
    return len(lines), rows


def epoch_of(row: Mapping[str, str | None], name: str) -> int:
    """Return the epoch of a row of the file of that name.

    Raises:
        RunFileError: If it is no number.
    """
    value = number(row.get(EPOCH))
    if value is None or not math.isfinite(value):
        raise RunFileError(f"{name} must have a number in the column {EPOCH} of every row")
    return int(value)
