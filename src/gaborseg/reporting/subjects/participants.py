"""What a data set tells of its subjects: the columns of ``participants.tsv``."""

import math
from collections.abc import Sequence
from typing import Any

from gaborseg.runs import number
from gaborseg.study import SITE, RunRecord, participant_rows

_NAMES = ("participant_id", "participant")
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
    rows = participant_rows(runs)
    names = dict.fromkeys(name for row in rows.values() for name in row if name)
    found = [
        _column(name, [rows.get(s, {}).get(name, "") for s in subjects])
        for name in names
        if name not in _NAMES
    ]
    return [c for c in found if any(v is not None for v in c["values"])][:_MOST_COLUMNS]


def _column(name: str, cells: Sequence[str]) -> dict[str, Any]:
    texts = [None if cell.lower() in _MISSING else cell for cell in cells]
    numbers = [math.nan if text is None else number(text) for text in texts]
    numeric = name != SITE and all(value is not None and not math.isinf(value) for value in numbers)
    values: list[Any] = numbers if numeric else texts
    there = [None if isinstance(v, float) and math.isnan(v) else v for v in values]
    return {"name": name, "number": numeric, "values": there}
