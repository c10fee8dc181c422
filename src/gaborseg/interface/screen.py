"""The screen: plain log lines and tables; and the log on disk."""

import logging
import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table

from gaborseg.machine import open_unlinked, printable


class ConsoleHandler(logging.StreamHandler):
    """Writes to whatever ``sys.stderr`` is at that moment, so that progress bars stay whole."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        """Return the present standard error."""
        return sys.stderr

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a name in it does nothing to the terminal."""
        return printable(super().format(record))


class LogFile(logging.FileHandler):
    """Adds to a log in UTF-8, never through a link.

    Attributes:
        is_new: Whether there was no such file before.
    """

    def __init__(self, filename: str) -> None:
        self.is_new = not os.path.lexists(filename)
        super().__init__(filename, encoding="utf-8", errors="backslashreplace")

    def _open(self) -> TextIOWrapper:
        descriptor = open_unlinked(Path(self.baseFilename), os.O_WRONLY | os.O_APPEND)
        return os.fdopen(descriptor, "a", encoding=self.encoding, errors=self.errors)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a name in it does nothing to the terminal that shows the log."""
        return printable(super().format(record))


class _Printable:
    """What a table shows, in which a name does nothing to the terminal."""

    def __init__(self, content: RenderableType) -> None:
        self.content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self.content, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


def never_fail_to_print() -> None:
    """Let no character, and no full disk, that output goes to end the work that it tells of."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    logging.raiseExceptions = False


def show(renderable: RenderableType) -> None:
    """Print a table on the screen, in full width where the output is a file.

    Names are shown letter by letter, whatever rich would read into their brackets and colons, and
    wrapped rather than cut where the screen is narrow.
    """
    for column in renderable.columns if isinstance(renderable, Table) else ():
        column.overflow = "fold"
    console = Console(markup=False, emoji=False)
    if not console.is_terminal:
        console.width = max(console.width, 120)
    console.print(_Printable(renderable))
