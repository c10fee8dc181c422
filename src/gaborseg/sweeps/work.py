"""A whole sweep: run, shown, and summed up at the end."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from gaborseg.sweeps.cells import Cell
from gaborseg.sweeps.display import display_on, print_summary
from gaborseg.sweeps.machine import Machine
from gaborseg.sweeps.sweep import Entry, Sweep, interruptible

_WIDE = 160  # columns where the output is a file


def work_through(
    cells: Sequence[Cell], machine: Machine, folder: Path, console: Console, then: str = ""
) -> list[Entry]:
    """Work on all cells, show how far they are, and return what became of each.

    Args:
        cells: The runs.
        machine: Where they run.
        folder: The sweep's folder, for the summary.
        console: Where it is shown.
        then: What to do when all are done, for the summary.

    Raises:
        KeyboardInterrupt: If a signal asked for an end, after the cells have ended.
    """
    if not console.is_terminal:
        console.width = _WIDE
    display = display_on(console)
    sweep = Sweep(cells, machine, display)
    try:
        with interruptible(), display:
            sweep.run()
    finally:
        print_summary(console, sweep.entries, folder, then)
    return sweep.entries
