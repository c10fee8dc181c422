"""Test scores as a file and as a table on the screen."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev

from rich.table import Table

from src.metrics import SubjectTable
from src.training.run_folder import write_atomically

Row = tuple[str, str, float]


def score_rows(
    scores: SubjectTable, subjects: Sequence[str], structures: Sequence[str]
) -> list[Row]:
    """Return (subject, structure, Dice in [0, 1] or NaN where it is absent) of all that is scored.

    Args:
        scores: Dice of n subjects (n, C-1) and their indices into ``subjects``.
        subjects: Ids of all subjects of the data set.
        structures: Names of the labels 1 ... C-1.
    """
    return [
        (subjects[index], structure, value)
        for index, values in zip(scores.subjects.tolist(), scores.dice.tolist(), strict=True)
        for structure, value in zip(structures, values, strict=True)
    ]


def write_scores(path: Path, rows: Sequence[Row]) -> None:
    """Write ``subjects.csv``: subject, structure, dice (empty where the structure is absent)."""
    with write_atomically(path) as file:
        writer = csv.writer(file)
        writer.writerow(["subject", "structure", "dice"])
        writer.writerows((s, t, "" if math.isnan(d) else repr(d)) for s, t, d in rows)


def read_scores(path: Path) -> list[Row]:
    """Return the rows that ``write_scores`` wrote."""
    with path.open(newline="") as file:
        return [
            (row["subject"], row["structure"], float(row["dice"] or "nan"))
            for row in csv.DictReader(file)
        ]


def scores_table(rows: Sequence[Row], title: str) -> Table:
    """Return a table of mean and standard deviation of Dice over subjects, per structure."""
    table = Table("structure", title=title)
    for heading in ("Dice mean %", "std %", "subjects"):
        table.add_column(heading, justify="right")
    for structure in dict.fromkeys(row[1] for row in rows):
        table.add_row(structure, *_summary([d for _, s, d in rows if s == structure]))
    table.add_section()
    table.add_row("mean over structures", *_summary(subject_means(rows)), style="bold")
    return table


def subject_means(rows: Sequence[Row]) -> list[float]:
    """Return each subject's mean Dice over the structures that it has."""
    return [
        fmean(values) if values else math.nan
        for subject in dict.fromkeys(row[0] for row in rows)
        for values in [[d for s, _, d in rows if s == subject and not math.isnan(d)]]
    ]


def _summary(values: Sequence[float]) -> tuple[str, str, str]:
    present = [value for value in values if not math.isnan(value)]
    mean = f"{100 * fmean(present):.1f}" if present else "-"
    spread = f"{100 * stdev(present):.1f}" if len(present) > 1 else "-"
    return mean, spread, str(len(present))
