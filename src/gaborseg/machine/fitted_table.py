"""A table that fits the screen."""

import copy
from collections.abc import Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Column, Table

_UNBOUNDED = 10_000  # columns of a screen that is wider than any table


class FittedTable(Table):
    """A table that leaves out columns where the screen is too narrow for it, and says which.

    Names in the first column are never cut: where nothing is left to leave out, they are wrapped.

    Args:
        first: Heading of the first column.
        spare: Headings of the columns that may be left out, the least important first.
        options: Those of rich's own table.

    Example:
        >>> table = FittedTable("organ", spare=["std"], box=None, pad_edge=False)
        >>> table.add_column("mean Dice")
        >>> table.add_column("std")
        >>> table.add_row("left lung", "0.9", "0.1")
        >>> Console(width=30).print(table)
        organ      mean Dice  std
        left lung  0.9        0.1
    """

    def __init__(self, first: str, spare: Sequence[str] = (), **options: Any) -> None:
        super().__init__(Column(first, overflow="fold"), **options)
        self.spare = spare

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield as many columns as there is room for."""
        spare = [heading for heading in self.spare if heading in self._headings]
        table, gone = self, 0
        while gone < len(spare) and _width(table, console, options) > options.max_width:
            gone += 1
            table = self._without(spare[:gone])
        yield from Table.__rich_console__(table, console, options)

    @property
    def _headings(self) -> list[RenderableType]:
        return [column.header for column in self.columns]

    def _without(self, headings: Sequence[str]) -> "FittedTable":
        """Return the table without some columns, whose headings are in its caption."""
        table = copy.copy(self)
        table.columns, table.rows = [], []
        kept = [column for column in self.columns if column.header not in headings]
        for column in kept:
            table.add_column(column.header, justify=column.justify, overflow=column.overflow)
        for row, *cells in zip(self.rows, *(column.cells for column in kept), strict=True):
            table.add_row(*cells, style=row.style, end_section=row.end_section)
        left_out = ", ".join(" ".join(heading.split()) for heading in headings)
        below = [] if self.caption is None else [str(self.caption)]
        table.caption = "\n".join([*below, f"Left out for want of room: {left_out}"])
        return table


def _width(table: Table, console: Console, options: ConsoleOptions) -> int:
    """Return how many columns of a screen show every cell as it is."""
    return Measurement.get(console, options.update(max_width=_UNBOUNDED), table).maximum
