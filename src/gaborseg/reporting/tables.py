"""Tables that are written once and read everywhere: as csv, Markdown and LaTeX."""

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gaborseg.interface import markdown_table, markdown_text
from gaborseg.machine import as_cell

_LATEX = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "·": r"$\cdot$",
    "-": "-",
}


class Spread(NamedTuple):
    """A mean and its standard deviation, NaN where there is no more than one value."""

    mean: float
    std: float


Value = str | int | float | Spread | None


@dataclass(frozen=True)
class Column:
    """How the values of a column are shown.

    Attributes:
        heading: With the unit.
        factor: Shown value = value * factor.
        digits: Decimals of numbers; None for text and for three significant digits of floats.
    """

    heading: str
    factor: float = 1
    digits: int | None = None


@dataclass(frozen=True)
class Table:
    """A table of a report.

    Attributes:
        name: Of its files.
        title: What it shows.
        columns: From left to right.
        rows: Values, as many in each as there are columns.
        best: Cells in bold, as (row, column).
        note: What the reader must know, and from how much data the numbers come.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]
    best: frozenset[tuple[int, int]] = frozenset()
    note: str = ""

    def cell(self, row: int, column: int) -> str:
        """Return a cell for the reader."""
        return written(self.rows[row][column], self.columns[column])

    def csv(self) -> str:
        """Return the table with full precision; a spread takes two columns, mean and std."""
        spreads = [any(isinstance(row[i], Spread) for row in self.rows) for i in range(self._width)]
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        headings = zip(self.columns, spreads, strict=True)
        writer.writerow([h for column, spread in headings for h in _csv_headings(column, spread)])
        for row in self.rows:
            cells = zip(row, self.columns, spreads, strict=True)
            writer.writerow([text for cell in cells for text in _csv_values(*cell)])
        return file.getvalue()

    def markdown(self) -> str:
        """Return the table in Markdown, readable as it is."""
        headings = [markdown_text(column.heading) for column in self.columns]
        body = markdown_table(headings, self._cells("**{}**", markdown_text))
        title, note = markdown_text(self.title), markdown_text(self.note)
        return "\n\n".join(part for part in (f"**{title}**", body, note) if part) + "\n"

    def latex(self) -> str:
        """Return the table for LaTeX with the package booktabs."""
        rows = [" & ".join(line) + r" \\" for line in self._cells(r"\textbf{{{}}}", latex)]
        heading = " & ".join(latex(column.heading) for column in self.columns) + r" \\"
        return "\n".join(
            [
                r"\begin{table}",
                rf"\caption{{{latex(self.title)}. {latex(self.note)}}}",
                rf"\label{{tab:{self.name}}}",
                r"\centering",
                rf"\begin{{tabular}}{{l{'r' * (self._width - 1)}}}",
                r"\toprule",
                heading,
                r"\midrule",
                *rows,
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
                "",
            ]
        )

    @property
    def _width(self) -> int:
        return len(self.columns)

    def _cells(self, bold: str, escape: Callable[[str], str]) -> list[list[str]]:
        return [
            [
                bold.format(text) if (row, column) in self.best else text
                for column in range(self._width)
                for text in [escape(self.cell(row, column))]
            ]
            for row in range(len(self.rows))
        ]


def written(value: Value, column: Column) -> str:
    """Return a value for the reader.

    >>> written(Spread(0.8312, 0.0049), Column("Dice %", 100, 1)), written(0.5, Column("r"))
    ('83.1 ± 0.5', '0.5')
    >>> written(1598900, Column("parameters")), written(None, Column("p"))
    ('1,598,900', '-')
    """
    match value:
        case None:
            return "-"
        case Spread(mean, std):
            shown = written(mean, column)
            return shown if math.isnan(std) else f"{shown} ± {written(std, column)}"
        case float():
            return _number(value * column.factor, column.digits)
        case int():
            return f"{value:,}"
        case _:
            return str(value)


def _number(value: float, digits: int | None) -> str:
    if math.isnan(value):
        return "-"
    text = f"{value:.3g}" if digits is None else f"{value:.{digits}f}"
    return text.replace("-0.0", "0.0") if float(text) == 0 else text


def latex(text: str) -> str:
    r"""Return text with LaTeX's special characters escaped.

    >>> latex("50 % of a_b")
    '50 \\% of a\\_b'
    """
    return "".join(_LATEX.get(character, character) for character in text)


def best_cells(
    means: Sequence[Sequence[float]], columns: Sequence[int], shown: Column, better: int
) -> frozenset[tuple[int, int]]:
    """Return the cells that are the best of their row, as far as the shown digits tell.

    Equal ones share the place; where all are equal, none is best.

    Args:
        means: Rows of values; NaN is never the best.
        columns: Position in the table of each value's column.
        shown: How they are shown.
        better: 1 if higher is better, -1 if lower is, 0 if there is no best.
    """
    cells = set()
    for row, values in enumerate(means):
        rounded = [round(value * shown.factor, shown.digits or 0) * better for value in values]
        there = {value for value in rounded if not math.isnan(value)}
        if better and len(there) > 1:
            top = max(there)
            cells |= {(row, c) for c, v in zip(columns, rounded, strict=True) if v == top}
    return frozenset(cells)


def _csv_headings(column: Column, spread: bool) -> list[str]:
    heading = as_cell(column.heading)
    return [f"{heading} mean", f"{heading} std"] if spread else [heading]


def _csv_values(value: Value, column: Column, spread: bool) -> list[str]:
    values: Sequence[Value] = (value.mean, value.std) if isinstance(value, Spread) else (value,)
    return [_exact(v, column) for v in values] + [""] * (spread and not isinstance(value, Spread))


def _exact(value: Value, column: Column) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value * column.factor:.10g}" if isinstance(value, float) else as_cell(str(value))
