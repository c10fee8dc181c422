"""Test scores as a file and as a table on the screen."""

import csv
import io
import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from rich.table import Table

from gaborseg.machine import FittedTable, as_cell, of_cell, read_text, write_atomically
from gaborseg.runs.files import (
    RunFile,
    RunFileError,
    number,
    open_table,
    read_outcome,
    read_record,
    reading,
)


class Score(NamedTuple):
    """What is scored of one structure of one subject: a row of ``subjects.csv``.

    dice and nsd are in [0, 1], hd95 in mm; they are NaN where neither the truth nor the prediction
    has the structure, and the worst possible where only one has it. Volumes are in mm^3. The
    expected calibration errors, in [0, 1], are of the softmax and of the calibrated decision, NaN
    without one. NaN also stands for what an older run did not measure.
    """

    subject: str
    structure: str
    dice: float
    hd95: float = math.nan
    nsd: float = math.nan
    volume: float = math.nan
    true_volume: float = math.nan
    ece: float = math.nan
    calibrated_ece: float = math.nan

    @property
    def volume_error(self) -> float:
        """Predicted minus true volume as a share of the true one; NaN without a true one."""
        if not self.true_volume > 0:
            return math.nan
        return (self.volume - self.true_volume) / self.true_volume


_NUMBERS = Score._fields[2:]
NEEDED = Score._fields[:3]
_SHARES = ("dice", "nsd", "ece", "calibrated_ece")  # scores in [0, 1]; the others are not negative
_VOLUME_ERROR = "volume\nerror %"
_SPARE = ("subjects", _VOLUME_ERROR, "std", "NSD %", "HD95 mm")
"""Columns of the table on the screen that may be left out, the least important first."""


def score_rows(
    subject: str, structures: Sequence[str], columns: Iterable[Sequence[float]]
) -> list[Score]:
    """Return the rows of a subject.

    Args:
        subject: Its id.
        structures: Names of the labels 1 ... L.
        columns: Dice, HD95, NSD, volumes and true volumes of its structures, and what there is of
            calibration errors; L numbers each.
    """
    return [
        Score(subject, structure, *numbers)
        for structure, *numbers in zip(structures, *columns, strict=True)
    ]


def write_scores(path: Path, rows: Iterable[Score]) -> None:
    """Write ``subjects.csv``, to the last digit; what does not exist (NaN) is left empty."""
    with write_atomically(path) as file:
        writer = csv.writer(file)
        writer.writerow(Score._fields)
        writer.writerows((*map(as_cell, row[:2]), *map(_cell, row[2:])) for row in rows)


def read_scores(path: Path) -> list[Score]:
    """Return the rows of a ``subjects.csv``; scores that an older file lacks are NaN.

    Raises:
        RunFileError: If the file is missing, damaged or empty, or holds impossible or repeated
            scores.
    """
    with reading(path):
        table = open_table(path)
        if missing := [name for name in NEEDED if name not in (table.fieldnames or ())]:
            raise RunFileError(f"{path.name} has no column {', '.join(missing)}")
        rows = [score_of(row, path.name) for row in table]
    check_scores(rows, path.name)
    return rows


def check_rows(path: Path, subjects: int | None) -> None:
    """Check that a ``subjects.csv`` is there and not cut; its numbers are not looked at.

    Args:
        path: The file.
        subjects: How many were tested, if that is known.

    Raises:
        RunFileError: If it is missing, or not every subject has as many whole rows.
    """
    with reading(path):
        rows = [*filter(None, csv.reader(io.StringIO(read_text(path), newline="")))]
    whole = [row for row in rows[1:] if len(row) == len(rows[0])]
    counts = Counter(row[0] for row in whole)
    even = len({*counts.values()}) == 1 and len(whole) == len(rows) - 1
    if not even or subjects not in (None, len(counts)):
        raise RunFileError(
            f"{path.name} must have whole rows of {subjects or 'all'} test subjects, as many of "
            f"each, got {len(whole)} of {len(counts)}"
        )


def read_run_scores(folder: Path) -> list[Score]:
    """Return the scores of a run that was tested, compared with what its other files tell.

    Raises:
        RunFileError: If a file is missing or damaged, or scores are lost or not this run's.
    """
    rows = read_scores(folder / RunFile.SCORES)
    outcome, data = read_outcome(folder), read_record(folder).get("data", {})
    if (count := outcome.get("test_subjects")) is not None:
        _check_complete(rows, data, count)
    mean, told = overall_means(rows).dice, outcome.get("test_dice")
    if told is not None and f"{mean:.6f}" != f"{told:.6f}":
        raise RunFileError(
            f"{RunFile.SCORES} must have the mean Dice of {RunFile.OUTCOME}, {told:.6f}, "
            f"got {mean:.6f}"
        )
    return rows


def _check_complete(rows: Sequence[Score], data: Mapping[str, Any], count: int) -> None:
    """Check that every test subject has a row for every structure.

    Args:
        rows: The scores.
        data: What the run tells about its data; perhaps nothing.
        count: How many subjects were tested.

    Raises:
        RunFileError: If rows are lost, or of subjects that were not to be tested.
    """
    subjects = {row.subject for row in rows}
    structures = data.get("structures") or {row.structure for row in rows}
    tested = data.get("split", {}).get("test", subjects)
    if strange := sorted(subjects.difference(tested)):
        raise RunFileError(f"{RunFile.SCORES} has {strange[0]}, who was not to be tested")
    wanted = count * len(structures)
    if wanted != len(rows):
        raise RunFileError(
            f"{RunFile.SCORES} must have {wanted} rows, {len(structures)} a test subject, "
            f"got {len(rows)}"
        )


def check_scores(rows: Sequence[Score], name: str) -> None:
    """Check that there are scores, and none twice.

    Raises:
        RunFileError: If that is not so; the message calls the file by its name.
    """
    if not rows:
        raise RunFileError(f"{name} holds no subject")
    places = Counter((row.structure, row.subject) for row in rows)
    ((structure, subject), count) = places.most_common(1)[0]
    if count > 1:
        raise RunFileError(f"{name} has {structure} of {subject} twice")


def score_of(row: Mapping[str, str | None], name: str) -> Score:
    """Return a row of the file of that name: an empty or infinite cell is NaN.

    Raises:
        RunFileError: If the row is cut short, or a score is no number or out of its range.
    """
    if None in row.values():
        raise RunFileError(f"{name} has a row that is cut short, of {row[NEEDED[0]]}")
    subject, structure = (of_cell(row[key] or "") for key in NEEDED[:2])
    numbers = []
    for column in _NUMBERS:
        cell = row.get(column)
        value = number(cell)
        limit, rule = (1, "in [0, 1]") if column in _SHARES else (math.inf, "not negative")
        if value is None or value < 0 or (value > limit):
            place = f"{structure} of {subject}"
            raise RunFileError(f"{name}: {column} must be {rule} or empty, got {cell} for {place}")
        numbers.append(math.nan if math.isinf(value) else value)
    return Score(subject, structure, *numbers)


def scores_table(rows: Iterable[Score], title: str, caption: str | None = None) -> Table:
    """Return a table of the scores of each structure: means over the subjects that have it."""
    rows = list(rows)
    table = FittedTable("structure", spare=_SPARE, title=title, caption=caption)
    for heading in ("Dice %", "std", "HD95 mm", "NSD %", _VOLUME_ERROR, "subjects"):
        table.add_column(heading, justify="right")
    for structure, own in _grouped(rows, "structure").items():
        table.add_row(structure, *_cells(own))
    table.add_section()
    table.add_row("mean over structures", *_cells(subject_means(rows).values()), style="bold")
    return table


class _Means(NamedTuple):
    """A subject's means over the structures that it has, in the units of ``Score``."""

    dice: float
    hd95: float
    nsd: float
    volume_error: float


def subject_means(rows: Iterable[Score]) -> dict[str, _Means]:
    """Return each subject's means, in the order of the rows; NaN where it has no structure."""
    return {
        subject: _Means(*(_mean(getattr(row, name) for row in own) for name in _Means._fields))
        for subject, own in _grouped(rows, "subject").items()
    }


def overall_means(rows: Iterable[Score]) -> _Means:
    """Return the means over the subjects, each of which counts the same."""
    means = list(subject_means(rows).values())
    return _Means(*map(_mean, zip(*means, strict=True)))


def structure_dice(rows: Iterable[Score]) -> dict[str, float]:
    """Return each structure's mean Dice over the subjects that have it; NaN if none has."""
    groups = _grouped(rows, "structure")
    return {structure: _mean(row.dice for row in own) for structure, own in groups.items()}


def _grouped(rows: Iterable[Score], column: str) -> dict[str, list[Score]]:
    groups: dict[str, list[Score]] = {}
    for row in rows:
        groups.setdefault(getattr(row, column), []).append(row)
    return groups


def _cells(rows: Collection[Score | _Means]) -> Iterator[str]:
    """Yield the cells of a line: means in their units, and how many subjects they are from."""
    dice, hd95, nsd, errors = (
        _present(getattr(row, name) for row in rows) for name in _Means._fields
    )
    yield _shown(100 * _mean(dice))
    yield _shown(100 * stdev(dice) if len(dice) > 1 else math.nan)
    yield _shown(_mean(hd95), digits=2)
    yield _shown(100 * _mean(nsd))
    yield _shown(100 * _mean(errors))
    yield str(len(dice))


def _present(values: Iterable[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)]


def _mean(values: Iterable[float]) -> float:
    present = _present(values)
    return fmean(present) if present else math.nan


def _shown(value: float, digits: int = 1) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _cell(value: float) -> str:
    return "" if math.isnan(value) else repr(value)
