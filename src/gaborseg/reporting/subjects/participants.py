"""What a data set tells of its subjects: the columns of ``participants.tsv``."""

import csv
import io
import logging
import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from gaborseg.data import PARTICIPANTS
from gaborseg.machine import of_cell, read_table, read_text
from gaborseg.runs import number
from gaborseg.study import RunRecord

log = logging.getLogger(__name__)

_SUBJECT = "participant_id"
_PERSON = "participant"
_NAMES = (_SUBJECT, _PERSON)
"""Columns that name the subject or the person, and tell nothing about them."""
_MISSING = ("", "n/a")
_MOST_COLUMNS = 12


def participant_columns(runs: Sequence[RunRecord], subjects: Sequence[str]) -> list[dict[str, Any]]:
    """Return the columns that the first data set of the runs has of its subjects, often none.

    Args:
        runs: Where data sets are looked for.
        subjects: Whose values are wanted (S).

    Returns:
        Of each column its name, whether all values are numbers, and S values; None where there is
        none.
    """
    rows = _rows_of(runs)
    names = [name for name in next(iter(rows.values()), {}) if name and name not in _NAMES]
    found = [_column(name, [rows.get(s, {}).get(name, "") for s in subjects]) for name in names]
    return [c for c in found if any(v is not None for v in c["values"])][:_MOST_COLUMNS]


def people_of(runs: Sequence[RunRecord], subjects: Sequence[str]) -> list[str]:
    """Return whose scan each subject is, by the first data set of the runs; else its own."""
    rows = _rows_of(runs)
    return [rows.get(s, {}).get(_PERSON) or s for s in subjects]


def _rows_of(runs: Sequence[RunRecord]) -> Mapping[str, Mapping[str, str]]:
    """Return the rows of the first table of participants in the runs' data sets, by subject."""
    folders = dict.fromkeys(Path(run.data["root"]) for run in runs if run.data.get("root"))
    path = next((f / PARTICIPANTS for f in folders if (f / PARTICIPANTS).is_file()), None)
    if path is None:
        return {}
    try:
        return _rows(path)
    except (OSError, ValueError, csv.Error) as error:
        _note_once(f"{path}: nothing is told of the subjects: {error}")
        return {}


@cache
def _note_once(text: str) -> None:
    log.warning(f"note: {text}")


def _rows(path: Path) -> dict[str, Mapping[str, str]]:
    """Return the rows of a table of participants by subject."""
    table = read_table(io.StringIO(read_text(path), newline=""), delimiter="\t")
    if _SUBJECT not in (table.fieldnames or ()):
        raise ValueError(f"it must have a column {_SUBJECT}, and tabs between columns")
    rows = [
        {str(name): of_cell(cell or "").strip() for name, cell in row.items() if name}
        for row in table
    ]
    return {row[_SUBJECT]: row for row in rows}


def _column(name: str, cells: Sequence[str]) -> dict[str, Any]:
    texts = [None if cell.lower() in _MISSING else cell for cell in cells]
    numbers = [math.nan if text is None else number(text) for text in texts]
    numeric = all(value is not None and not math.isinf(value) for value in numbers)
    values: list[Any] = numbers if numeric else texts
    there = [None if isinstance(v, float) and math.isnan(v) else v for v in values]
    return {"name": name, "number": numeric, "values": there}
