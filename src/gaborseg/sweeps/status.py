"""What the files of sweeps tell of their runs, as tables."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import rich
from rich.console import Console
from rich.text import Text

from gaborseg.machine import printable
from gaborseg.runs import RunFile, Stage, read_state
from gaborseg.sweeps.cells import Cell
from gaborseg.sweeps.display import cells_table, counts
from gaborseg.sweeps.plan import PLAN, Round, read_plan, read_rounds
from gaborseg.sweeps.sweep import Entry

_FILES_OF_A_RUN = {RunFile.SETTINGS, RunFile.FAILURE, RunFile.OUTCOME}
_FEW, _MANY = 10, 1000  # rows for each of several sweeps, and for one alone


_WIDE = 160  # columns where the output is a file


def show_sweeps(sweeps: Mapping[Path, Sequence[Entry]]) -> None:
    """Print a table of the runs of every sweep."""
    console = rich.get_console()
    if not console.is_terminal:
        console.width = _WIDE
    for home, entries in sweeps.items():
        show(console, home, entries, _FEW if len(sweeps) > 1 else _MANY)


def sweeps_in(*folders: Path) -> dict[Path, list[Entry]]:
    """Return the runs in some folders and below them, each once, by the folder that they are in.

    What a sweep has planned counts as well, whether there is anything of it or not.
    """
    found: dict[Path, dict[Path, Entry]] = {}
    names: dict[Path, Path] = {}
    for folder in folders:
        for home, entries in _sweeps_below(folder).items():
            known = found.setdefault(names.setdefault(home.resolve(), home), {})
            for one in entries:
                known.setdefault(one.cell.folder.resolve(), one)
    return {home: [*entries.values()] for home, entries in found.items()}


def _sweeps_below(folder: Path) -> dict[Path, list[Entry]]:
    """Return the runs in a folder and below it, or the run that it is."""
    runs, homes = set(), set()

    def shut(error: OSError) -> None:
        runs.add(Path(error.filename))  # its state says why it cannot be read

    for path, folders, files in os.walk(folder, onerror=shut):
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
    rungs = _rungs(read_rounds(home))
    return [entry(run, name, rungs.get(run)) for run, name in (plan | others).items()]


def entry(run: Path, name: str, rung: int | None = None) -> Entry:
    """Return a run with what its files say; a search may have paused it at a rung."""
    state = read_state(run)
    if rung is not None and state.stage == Stage.STOPPED and state.epoch >= rung:
        state = replace(state, stage=Stage.PAUSED)
    return Entry(Cell(name, run, ()), state)


def _rungs(rounds: Sequence[Round]) -> dict[Path, int]:
    """Return after how many epochs the runs of a search were last compared, unless at their end."""
    return {run: found.epochs for found in rounds if found.epochs for run in found.values}


def _search_line(rounds: Sequence[Round], names: Mapping[Path, str]) -> str:
    """Return what a search looked for, how many runs went how far, and the best one by far."""
    last = rounds[-1]
    number = Counter({found.epochs: 0 for found in rounds})
    for found in rounds:
        number[found.epochs] += len(found.values)
    parts = [f"{n} runs to {f'epoch {e}' if e else 'the end'}" for e, n in number.items()]
    finals = [found for found in rounds if found.epochs == last.epochs]
    values = {run: value for found in finals for run, value in found.values.items()}
    ranked = replace(last, values=values).ranked()
    best = (
        [f"best {names.get(ranked[0], ranked[0].name)}: {values[ranked[0]]:.4f}"] if ranked else []
    )
    return f"search, {last.objective} to {last.direction}: {'; '.join([', '.join(parts), *best])}"


def show(console: Console, home: Path, entries: Sequence[Entry], rows: int) -> None:
    """Print the table of one sweep, its counts, and what there is to say about single runs.

    That is why some failed, ended early, and which of their files cannot be read.
    """
    heading = printable(f"{home}: {counts(entries)}")
    console.print(Text(heading, style="bold"), soft_wrap=True)
    console.print(cells_table(entries, rows))
    if rounds := read_rounds(home):
        names = {one.cell.folder: one.cell.name for one in entries}
        console.print(Text(printable(_search_line(rounds, names))), soft_wrap=True)
    for line in (*_problems(entries), *_early_ends(entries, rows)):
        console.print(Text(printable(line)), soft_wrap=True)
    console.print()


def _problems(entries: Sequence[Entry]) -> Iterator[str]:
    """Yield a line for every run that failed, and for every file that cannot be read."""
    for one in entries:
        if one.stage == Stage.FAILED:
            yield f"failed: {one.cell.folder}: {one.state.message}"
        for problem in one.state.problems:
            yield f"problem: {one.cell.folder}: {problem}"


def _early_ends(entries: Sequence[Entry], rows: int) -> Iterator[str]:
    """Yield a line for runs that were stopped before they had all epochs, of at most so many."""
    stopped = [one for one in entries if one.state.early_end]
    for one in stopped[:rows]:
        yield f"{one.cell.folder}: {one.state.early_end}"
    if len(stopped) > rows:
        yield f"... and {len(stopped) - rows} more were stopped early"
