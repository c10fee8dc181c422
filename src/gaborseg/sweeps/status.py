"""What the files of sweeps tell of their runs, as tables."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import rich
from rich.console import Console
from rich.text import Text

from gaborseg.machine import printable
from gaborseg.runs import RunFile, Stage, read_state
from gaborseg.sweeps.cells import Cell
from gaborseg.sweeps.display import cells_table, counts
from gaborseg.sweeps.plan import PLAN, read_plan
from gaborseg.sweeps.sweep import Entry

_FILES_OF_A_RUN = {RunFile.SETTINGS, RunFile.FAILURE, RunFile.OUTCOME}
_FEW = 10  # rows for each of several sweeps; one alone is shown in full


_WIDE = 160  # columns where the output is a file


def show_sweeps(sweeps: Mapping[Path, Sequence[Entry]]) -> None:
    """Print a table of the runs of every sweep."""
    console = rich.get_console()
    if not console.is_terminal:
        console.width = _WIDE
    for home, entries in sweeps.items():
        show(console, home, entries, _FEW if len(sweeps) > 1 else len(entries))


def sweeps_in(folder: Path) -> dict[Path, list[Entry]]:
    """Return the runs in a folder and below it, by the folder that they are in.

    What a sweep has planned counts as well, whether there is anything of it or not.
    """
    runs, homes = set(), set()
    for path, folders, files in os.walk(folder):
        if _FILES_OF_A_RUN & {*files}:
            runs.add(Path(path))
            folders.clear()  # a tracker may keep a config.yaml of its own in there
        elif PLAN in files:
            homes.add(Path(path))
    if folder in runs:
        return {folder.parent: [entry(folder, folder.name)]}
    homes |= {run.parent for run in runs}
    return {home: _entries_of(home, runs) for home in sorted(homes)}


def _entries_of(home: Path, runs: set[Path]) -> list[Entry]:
    """Return the planned runs of a folder in their order, and then all others in it."""
    plan = read_plan(home)
    others = {run: run.name for run in sorted(runs - plan.keys()) if run.parent == home}
    return [entry(run, name) for run, name in (plan | others).items()]


def entry(run: Path, name: str) -> Entry:
    """Return a run with what its files say."""
    return Entry(Cell(name, run, ()), read_state(run))


def show(console: Console, home: Path, entries: Sequence[Entry], rows: int) -> None:
    """Print the table of one sweep, its counts, why runs failed, and which files cannot be read."""
    heading = printable(f"{home}: {counts(entries)}")
    console.print(Text(heading, style="bold"), soft_wrap=True)
    console.print(cells_table(entries, rows))
    for one in entries:
        failed = [f"failed: {one.cell.folder}: {one.state.message}"]
        problems = [f"problem: {one.cell.folder}: {problem}" for problem in one.state.problems]
        for line in (*(failed if one.stage == Stage.FAILED else []), *problems):
            console.print(Text(printable(line)), soft_wrap=True)
    console.print()
