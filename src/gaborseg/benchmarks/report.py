"""Tables of measurements: numbers in memory and in JSON, Markdown on the screen."""

from dataclasses import dataclass
from typing import Any

from gaborseg.benchmarks.timing import Spread
from gaborseg.interface import markdown_table

Cell = str | int | float | Spread | None


@dataclass(frozen=True)
class Table:
    """Measurements, one row each; all rows have the same columns.

    Attributes:
        title: What was measured, with its sizes.
        rows: Values by column; the column's name says the unit. None is what could not be
            measured, or makes no sense.
    """

    title: str
    rows: list[dict[str, Cell]]

    def markdown(self) -> str:
        """The table in Markdown, readable as it is; a spread is `median (quartile - quartile)`."""
        columns = list(self.rows[0])
        rows = ([written(row[column]) for column in columns] for row in self.rows)
        return f"**{self.title}**\n\n{markdown_table(columns, rows)}"

    def as_json(self) -> dict[str, Any]:
        """The table as plain values."""
        rows = [{key: _plain(value) for key, value in row.items()} for row in self.rows]
        return {"title": self.title, "rows": rows}


def written(value: Cell) -> str:
    """A cell for the reader: three digits of a number.

    >>> written(1234.5), written(0.012345), written(Spread(2.0, 1.0, 3.0)), written(None)
    ('1234', '0.0123', '2 (1 - 3)', '-')
    """
    match value:
        case None:
            return "-"
        case Spread(median, low, high):
            return f"{written(median)} ({written(low)} - {written(high)})"
        case float():
            return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
        case _:
            return str(value)


def _plain(value: Cell) -> object:
    return value._asdict() if isinstance(value, Spread) else value
