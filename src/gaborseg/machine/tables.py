"""Tables that anybody may have made: rows as dicts, in which no column hides another."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable


def read_table(lines: Iterable[str], delimiter: str = ",") -> csv.DictReader[str]:
    """Return a reader of a table's rows by column; blanks around the columns' names are left out.

    Args:
        lines: The heading and the rows.
        delimiter: What separates the cells.

    Raises:
        ValueError: Two columns have the same name.
    """
    table = csv.DictReader(lines, delimiter=delimiter)
    columns = [name.strip() for name in table.fieldnames or ()]
    if twice := [name for name, count in Counter(columns).items() if name and count > 1]:
        raise ValueError(f"it must have each column once, got {twice[0]} twice")
    table.fieldnames = columns
    return table
