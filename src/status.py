"""How far the runs of a sweep are, told by their files alone.

    python -m src.status                              all that is in outputs
    python -m src.status outputs/sweeps/paper_grid    one sweep, or one run

It works while they run, after a crash, and on another machine that sees the files.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import rich
from rich.console import Console
from rich.text import Text

from src.runs import Stage, read_state
from src.sweeps import PLAN, Cell, Entry, cells_table, counts, read_plan

FILES_OF_A_RUN = ("config.yaml", "failed.json", "done.json")
FEW = 10  # rows for each of several sweeps; one alone is shown in full
WIDE = 160  # columns where the output is a file


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table of the runs of every sweep in a folder."""
    folder = parse(arguments)
    sweeps = sweeps_in(folder)
    if not sweeps:
        sys.exit(f"error: there are no runs in {folder}")
    console = rich.get_console()
    if not console.is_terminal:
        console.width = WIDE
    for home, entries in sweeps.items():
        show(console, home, entries, FEW if len(sweeps) > 1 else len(entries))


def parse(arguments: Sequence[str] | None) -> Path:
    """Return the folder that was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m src.status",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", nargs="?", default="outputs", help="may be said as runs=FOLDER")
    folder = Path(parser.parse_args(arguments).folder.removeprefix("runs="))
    if not folder.is_dir():
        parser.error(f"folder must be one that holds runs, got {folder}")
    return folder


def sweeps_in(folder: Path) -> dict[Path, list[Entry]]:
    """Return the runs in a folder and below it, by the folder that they are in.

    What a sweep has planned counts as well, whether there is anything of it or not.
    """
    runs, homes = set(), set()
    for path, folders, files in os.walk(folder):
        if {*FILES_OF_A_RUN} & {*files}:
            runs.add(Path(path))
            folders.clear()  # a tracker may keep a config.yaml of its own in there
        elif PLAN in files:
            homes.add(Path(path))
    if folder in runs:
        return {folder.parent: [entry(folder, folder.name)]}
    homes |= {run.parent for run in runs}
    return {home: entries_of(home, runs) for home in sorted(homes)}


def entries_of(home: Path, runs: set[Path]) -> list[Entry]:
    """Return the planned runs of a folder in their order, and then all others in it."""
    plan = read_plan(home)
    others = {run: run.name for run in sorted(runs - plan.keys()) if run.parent == home}
    return [entry(run, name) for run, name in (plan | others).items()]


def entry(run: Path, name: str) -> Entry:
    """Return a run with what its files say."""
    return Entry(Cell(name, run, ()), read_state(run))


def show(console: Console, home: Path, entries: Sequence[Entry], rows: int) -> None:
    """Print the table of one sweep, its counts, and why runs failed."""
    console.print(Text(f"{home}: {counts(entries)}", style="bold"), soft_wrap=True)
    console.print(cells_table(entries, rows))
    for one in entries:
        if one.stage == Stage.FAILED:
            console.print(Text(f"failed: {one.cell.folder}: {one.state.message}"), soft_wrap=True)
    console.print()


if __name__ == "__main__":
    main()
