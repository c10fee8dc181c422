"""The progress bar, and time as people say it."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

import rich
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from gaborseg.machine.names import printable

_Item = TypeVar("_Item")
_COLUMNS = (
    TextColumn("{task.description}", markup=False),
    BarColumn(),
    MofNCompleteColumn(),
    TimeElapsedColumn(),
    TextColumn("left"),
    TimeRemainingColumn(),
)


def progress(items: Iterable[_Item], title: str, total: int | None = None) -> Iterator[_Item]:
    """Yield items under a progress bar, which is shown on a terminal alone.

    Args:
        items: What is worked on.
        title: What is being done, such as "Reading runs".
        total: Number of items, if they cannot be counted beforehand.
    """
    console = rich.get_console()
    quiet = not console.is_terminal
    with Progress(*_COLUMNS, console=console, transient=True, disable=quiet) as bar:
        yield from bar.track(items, total, description=printable(title))


def duration(seconds: float) -> str:
    """Return a time as people say it.

    Example:
        >>> [duration(seconds) for seconds in (5, 700, 9000, 200000)]
        ['5 s', '12 min', '2.5 h', '56 h']
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 10 else f"{hours:.0f} h"
