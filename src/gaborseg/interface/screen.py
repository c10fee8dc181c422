"""The screen: plain log lines and tables."""

import logging
import sys
from typing import TextIO

import rich


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
