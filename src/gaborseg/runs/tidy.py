"""A study as one tidy table: one row per run, subject and structure, its settings as columns."""

import contextlib
import csv
import io
import math
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gaborseg.machine import as_cell, of_cell
from gaborseg.runs.curves import EPOCH, epoch_of
from gaborseg.runs.files import RunFileError, number, open_table, reading
from gaborseg.runs.scores import NEEDED, Score, check_scores, score_of

_Settings = tuple[tuple[str, str], ...]
_PERSON = "participant"
"""Column of the person whose scan it is, of those who have several."""
TRAINING, TOLERANCE = "training_subjects", "nsd_tolerance"
_FACTS = (TRAINING, TOLERANCE)
"""Columns of what statistics need to know of a run, and what are no settings of it."""
_CURVES = "_curves.csv"
"""How the name of the table of training curves ends, which lies beside that of the scores."""
_LONGEST_HEADER = 2**16


@dataclass(frozen=True)
class TidyRun:
    """A run in a table of many.

    Attributes:
        settings: What tells it from the others, as on the command line.
        scores: Of its test subjects.
        curves: The metrics of its epochs, by epoch; may be empty.
        people: Whose scan each subject is, of those that are not their person's only one.
        facts: Positive numbers: of its training subjects, and of the millimetres that a surface may
            be off for NSD; each if it is known.
    """

    settings: dict[str, str]
    scores: Sequence[Score]
    curves: dict[int, dict[str, Any]] = field(default_factory=dict)
    people: dict[str, str] = field(default_factory=dict)
    facts: dict[str, float] = field(default_factory=dict)


def is_tidy(path: Path) -> bool:
    """Return whether a file is a table of scores; one of curves is read with that of its scores."""
    if path.suffix != ".csv" or path.name.endswith(_CURVES):
        return False
    with contextlib.suppress(OSError, ValueError, csv.Error):
        return {*NEEDED} <= {*_header(path)}
    return False


def read_tidy(path: Path) -> list[TidyRun]:
    """Return the runs of a table of scores, with their curves if the table beside it has them.

    Raises:
        RunFileError: If a table is damaged or empty, or holds impossible or repeated scores.
    """
    with reading(path):
        settings = {*_header(path)} - {*Score._fields, _PERSON, *_FACTS}
    scores: dict[_Settings, list[Score]] = {}
    people: dict[_Settings, dict[str, str]] = {}
    facts: dict[_Settings, dict[str, float]] = {}
    for run, row in _rows(path, settings):
        scores.setdefault(run, []).append(score_of(row, path.name))
        facts.setdefault(run, _facts(row))
        if person := of_cell(row.get(_PERSON) or ""):
            people.setdefault(run, {})[scores[run][-1].subject] = person
    curves: dict[_Settings, dict[int, dict[str, Any]]] = {}
    beside = path.with_name(f"{path.stem}{_CURVES}")
    for run, row in _rows(beside, settings) if beside.is_file() else ():
        curves.setdefault(run, {})[epoch_of(row, beside.name)] = row
    for rows in scores.values() or [[]]:
        check_scores(rows, path.name)
    return [
        TidyRun(dict(run), rows, curves.get(run, {}), people.get(run, {}), facts[run])
        for run, rows in scores.items()
    ]


def _facts(row: Mapping[str, str]) -> dict[str, float]:
    numbers = {name: number(row.get(name)) for name in _FACTS}
    return {name: value for name, value in numbers.items() if value and 0 < value < math.inf}


def _header(path: Path) -> list[str]:
    if not path.is_file():
        raise ValueError("it is not a regular file")
    with path.open(newline="", encoding="utf-8") as file:
        return next(csv.reader([file.readline(_LONGEST_HEADER)]), [])


def _rows(path: Path, settings: Container[str]) -> Iterator[tuple[_Settings, dict[str, str]]]:
    """Yield of each row the settings that are told, and the cells of all other columns."""
    with reading(path):
        for row in open_table(path):
            if None in row.values():
                raise RunFileError(f"{path.name} has a row that is cut short")
            told = tuple(
                (of_cell(name), of_cell(cell))
                for name, cell in row.items()
                if name in settings and cell
            )
            yield told, {name: cell for name, cell in row.items() if name not in settings}


def tidy_texts(runs: Sequence[TidyRun], name: str) -> dict[str, str]:
    """Return the names and texts of the table of scores, and of that of curves if there are any.

    Args:
        runs: What the tables are to hold, to the last digit.
        name: Of both tables, without an ending.
    """
    texts = {f"{name}.csv": _scores_text(runs)}
    return texts | ({f"{name}{_CURVES}": _curves_text(runs)} if any(r.curves for r in runs) else {})


def _scores_text(runs: Sequence[TidyRun]) -> str:
    scored = [
        name
        for name in Score._fields
        if name in NEEDED or any(not math.isnan(getattr(s, name)) for r in runs for s in r.scores)
    ]
    rows = [
        run.settings
        | {name: f"{value:g}" for name, value in run.facts.items()}
        | _cells(score, scored)
        | {_PERSON: run.people.get(score.subject, "")}
        for run in runs
        for score in run.scores
    ]
    told = [name for name in _FACTS if any(name in run.facts for run in runs)]
    told += [_PERSON] if any(run.people for run in runs) else []
    return _text([*_columns(runs), *told, *scored], rows)


def _curves_text(runs: Sequence[TidyRun]) -> str:
    rows = [
        run.settings | {**row, EPOCH: epoch} for run in runs for epoch, row in run.curves.items()
    ]
    metrics = dict.fromkeys(k for run in runs for row in run.curves.values() for k in row)
    return _text([*dict.fromkeys([*_columns(runs), EPOCH, *metrics])], rows)


def _columns(runs: Sequence[TidyRun]) -> list[str]:
    return list(dict.fromkeys(name for run in runs for name in run.settings))


def _cells(score: Score, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(score, name) for name in names}


def _text(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(map(as_cell, columns))
    writer.writerows([_cell(row.get(column, "")) for column in columns] for row in rows)
    return file.getvalue()


def _cell(value: Any) -> Any:
    """Return a value as a cell: nothing for NaN."""
    return as_cell(value) if isinstance(value, str) else "" if value != value else value
