"""The screen: plain log lines, tables, progress bars."""

import logging
import sys
from collections.abc import Iterator
from typing import TextIO, TypeVar

import rich
from rich.progress import track


class ConsoleHandler(logging.StreamHandler):
    """Writes to whatever ``sys.stderr`` is at that moment, so that progress bars stay whole."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        """Return the present standard error."""
        return sys.stderr


def show(renderable: object) -> None:
    """Print a table on the screen, in full width where the output is a file."""
    console = rich.get_console()
    if not console.is_terminal:
        console.width = max(console.width, 120)
    console.print(renderable)


_Item = TypeVar("_Item")


def progress(items: list[_Item], what: str) -> Iterator[_Item]:
    """Yield items with a progress bar, if anybody is looking."""
    quiet = not rich.get_console().is_terminal
    yield from track(items, description=what, disable=quiet, transient=True)
