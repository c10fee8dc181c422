"""What a sweep shows: a live table on a terminal, plain lines in a file, and a summary."""

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from rich.console import Console, Group
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from gaborseg.machine import duration, printable
from gaborseg.runs import RunState, Stage
from gaborseg.sweeps.sweep import SETTLED, Display, Entry

_COLOURS = {
    Stage.WAITING: "dim",
    Stage.RUNNING: "bold",
    Stage.STOPPED: "yellow",
    Stage.PAUSED: "cyan",
    Stage.FAILED: "red",
    Stage.DONE: "green",
}
_URGENT = (Stage.FAILED, Stage.RUNNING, Stage.STOPPED, Stage.WAITING, *SETTLED)
_BESIDE_ROWS = 8  # lines of the terminal that a live table needs beside its rows
_SILENCE = 300.0  # seconds after which plain output says how far the running cells are
_TESTING = "testing"
_LONG = 40  # cells; of more, a summary names those that are not done


def display_on(console: Console) -> Display:
    """Return the display that suits a console."""
    return LiveDisplay(console) if console.is_terminal else PlainDisplay(console)


class LiveDisplay(Display):
    """A table that is drawn again and again, below the events that need words."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.live = Live(console=console, auto_refresh=False, transient=True)
        self.began = time.monotonic()

    def __enter__(self) -> None:
        """Begin to draw."""
        self.live.start()

    def __exit__(self, *details: object) -> None:
        """Take the table off the screen."""
        self.live.stop()

    def event(self, entry: Entry, what: str, lines: Sequence[str] = ()) -> None:
        """Print what needs words; the table shows the rest."""
        if lines:
            _print_event(self.console, entry, what, lines)

    def update(self, entries: Sequence[Entry]) -> None:
        """Draw the table, as much of it as the terminal has room for."""
        rows = max(self.console.height - _BESIDE_ROWS, 4)
        below = Text(summary_line(entries, time.monotonic() - self.began))
        self.live.update(Group(cells_table(entries, rows), below), refresh=True)


class PlainDisplay(Display):
    """A line for every event, and now and then one for every running cell."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.began = self.spoke = time.monotonic()

    def event(self, entry: Entry, what: str, lines: Sequence[str] = ()) -> None:
        """Print the event."""
        self.spoke = time.monotonic()
        _print_event(self.console, entry, what, lines)

    def update(self, entries: Sequence[Entry]) -> None:
        """Print how far the running cells are, if nothing was said for long."""
        now = time.monotonic()
        if now - self.spoke < _SILENCE:
            return
        self.spoke = now
        for entry in entries:
            if entry.stage == Stage.RUNNING:
                epoch, dice, left = progress(entry.state)
                left = left if left == _TESTING else f"{left} left"
                line = f"{entry.cell.name}: epoch {epoch}, val Dice {dice}, {left}"
                _print_line(self.console, line)
        _print_line(self.console, summary_line(entries, now - self.began))


def cells_table(entries: Sequence[Entry], rows: int) -> Table:
    """Return a table of the cells, of at most so many rows: what needs attention comes first."""
    by_urgency = sorted(entries, key=lambda entry: _URGENT.index(entry.stage))
    shown = {id(entry) for entry in by_urgency[:rows]}
    table = Table(Column("run", overflow="fold"), box=None, pad_edge=False)
    for heading in ("", "epoch", "Dice %", "time left"):
        table.add_column(heading, justify="right", no_wrap=True)
    for entry in entries:
        if id(entry) in shown:
            name = Text(printable(entry.cell.name))
            cells = (entry.stage.value, *progress(entry.state))
            table.add_row(name, *cells, style=_COLOURS[entry.stage])
    if len(entries) > rows:
        table.add_row(f"... and {len(entries) - rows} more", style="dim")
    return table


def summary_line(entries: Sequence[Entry], seconds: float) -> str:
    """Return the counts, the time so far and, once it can be told, the time to come."""
    line = f"{counts(entries)}; {duration(seconds)} so far"
    left = seconds_to_come(entries)
    return line if left is None else f"{line}, about {duration(left)} to come"


def counts(entries: Sequence[Entry]) -> str:
    """Return how many cells there are at each stage, as words."""
    number = {stage: sum(entry.stage == stage for entry in entries) for stage in Stage}
    parts = [f"{n} {stage.value}" for stage, n in number.items() if n and stage != Stage.DONE]
    return ", ".join([f"{number[Stage.DONE]} of {len(entries)} done", *parts])


def seconds_to_come(entries: Sequence[Entry]) -> float | None:
    """Return an estimate: a cell whose own files do not tell takes as long as those seen so far.

    None if no cell tells, or all that is left are tests that should be over.
    """
    running = [entry for entry in entries if entry.stage == Stage.RUNNING]
    waiting = [entry for entry in entries if entry.stage == Stage.WAITING]
    whole = [entry.seconds for entry in entries if entry.stage in SETTLED and entry.seconds]
    whole = whole or [_elapsed(e) + e.state.seconds_left for e in running if e.state.seconds_left]
    if not running or not whole:
        return None
    each = fmean(whole)
    present = fmean(e.state.seconds_left or max(each - _elapsed(e), 0.0) for e in running)
    total = present + each * len(waiting) / len(running)
    return total if total >= 1 else None


def _elapsed(entry: Entry) -> float:
    return time.monotonic() - entry.began


def print_summary(console: Console, entries: Sequence[Entry], folder: Path, then: str = "") -> None:
    """Print what became of the cells, and how to go on.

    Args:
        console: Where it is printed.
        entries: The cells.
        folder: The sweep's.
        then: What to do when all are done.
    """
    open_ones = [entry for entry in entries if entry.stage not in SETTLED]
    shown = entries if len(entries) <= _LONG else open_ones
    if shown:
        console.print(cells_table(shown, max(len(shown), 1)))
    for entry in entries:
        if entry.stage == Stage.FAILED:
            _print_line(console, f"failed: {entry.cell.folder}: {entry.state.message}")
    remarks = [entry for entry in entries if entry.cell.remark and entry.stage == Stage.DONE]
    for remark, names in _grouped(remarks).items():
        _print_line(console, f"{len(names)} done with other code ({remark}), among them {names[0]}")
    _print_line(console, f"{counts(entries)}, in {folder}")
    if open_ones:
        _print_line(console, "The same command goes on: what is done is kept, the rest is run.")
    elif then:
        _print_line(console, then)


def _grouped(entries: Sequence[Entry]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for entry in entries:
        groups.setdefault(entry.cell.remark, []).append(entry.cell.name)
    return groups


def progress(state: RunState) -> tuple[str, str, str]:
    """Return epoch, Dice in percent and time left, as words."""
    epoch = f"{state.epoch}/{state.epochs or '?'}" if state.epoch or state.epochs else "-"
    dice = "-" if state.dice is None else f"{100 * state.dice:.1f}"
    if state.stage == Stage.RUNNING and state.seconds_left == 0:
        return epoch, dice, _TESTING
    ended = state.stage == Stage.DONE or not state.seconds_left
    return epoch, dice, "-" if ended else duration(state.seconds_left or 0.0)


def _print_event(console: Console, entry: Entry, what: str, lines: Sequence[str]) -> None:
    """Print the time, the run and what happened to it, and indented lines below."""
    _print_line(console, f"{time.strftime('%H:%M:%S')} {entry.cell.name}: {what}")
    for line in lines:
        _print_line(console, f"    {line}")


def _print_line(console: Console, line: str) -> None:
    """Print a line as it is, however long."""
    console.print(Text(printable(line)), soft_wrap=True)
