"""Cases listed in a csv file: a row a scan, with a column for each image and one for the labels.

::

    subject,participant,T1w,FLAIR,label
    anna-1,anna,scans/anna_1.nii.gz,scans/anna_1_flair.nii.gz,labels/anna_1.nii.gz

Paths lead from the file's folder and stay inside it. ``participant`` may be left out; columns that
name no files are ignored.
"""

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gaborseg.data import Case, person_of, told_person
from gaborseg.machine import read_table, read_text
from gaborseg.preparation.discovery import Found, subject_id, unique
from gaborseg.scans import DataError, Problem, is_scan

_SUBJECT, _LABEL, _PARTICIPANT = "subject", "label", "participant"
_DELIMITERS = ",;\t"

_Row = dict[str, str]


def discover_manifest(path: Path, channels: Sequence[str] = ()) -> Found:
    """The cases of a csv file.

    Args:
        path: The file.
        channels: Columns of the images; if none, all other columns that name scans.

    Raises:
        DataError: It cannot be read, or has not the columns it must have.
    """
    columns, rows = _read_rows(path)
    images = tuple(channels) or tuple(
        column
        for column in columns
        if column != _LABEL and any(is_scan(Path(row[column])) for row in rows)
    )
    missing = [column for column in (_SUBJECT, *images, _LABEL) if column not in columns]
    if missing or not images:
        what = missing[0] if missing else "an image"
        raise DataError(
            f"{path} must have columns {_SUBJECT}, {_LABEL} and one for each image, e.g. T1w: "
            f"{what} is missing among {', '.join(columns) or 'none'}"
        )
    cases, problems = [], []
    for row in rows:
        found = list(_row_problems(path, row, images))
        problems += found
        if not found:
            cases.append(_case_of_row(path.parent, row, images))
    return unique(Found(tuple(cases), images, tuple(problems)))


def _read_rows(path: Path) -> tuple[list[str], list[_Row]]:
    """The columns of a csv file, and its rows that are not empty.

    Raises:
        DataError: It cannot be read.
    """
    try:
        lines = read_text(path).splitlines()
        delimiter = max(_DELIMITERS, key="".join(lines[:1]).count)
        table = read_table(lines, delimiter)
        rows = [_stripped(row, table.line_num) for row in table]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a csv file: {error}") from error
    return list(table.fieldnames or ()), [row for row in rows if any(row.values())]


def _stripped(row: dict[str, Any], line: int) -> _Row:
    """The cells of a row without blanks around them; an empty one for each that is left out.

    Raises:
        ValueError: There are more cells than columns, so that they may be shifted.
    """
    if any(row.pop(None, ())):  # type: ignore[call-overload]
        raise ValueError(
            f"line {line} must have a cell for each column, got more: put quotes around commas"
        )
    return {column: (cell or "").strip() for column, cell in row.items()}


def _row_problems(path: Path, row: _Row, images: Sequence[str]) -> Iterator[Problem]:
    """What is wrong with a row itself, before any of its files is looked at."""
    subject = subject_id(row[_SUBJECT])
    if not row[_SUBJECT]:
        yield Problem(str(path), f"has a row without {_SUBJECT}: {list(row.values())}", "name it")
    for column in (*images, _LABEL):
        if not row[column]:
            problem = f"names no {column} for {row[_SUBJECT]}"
            yield Problem(str(path), problem, "add it, or leave the row out", subject)
            continue
        file = resolve(path.parent, row[column])
        if not file.is_relative_to(os.path.abspath(path.parent)):
            remedy = "move the csv file to a folder that holds all scans"
            yield Problem(row[column], f"leads out of {path.parent}", remedy, subject)
        elif not is_scan(file):
            remedy = "convert it to .nii.gz, .nii, .mgz or .nrrd"
            yield Problem(str(file), "is in no format that is read", remedy, subject)


def resolve(root: Path, name: str) -> Path:
    """The absolute path of a file that a manifest names; links in it are not followed."""
    return Path(os.path.abspath(root / name))


def _case_of_row(root: Path, row: _Row, images: Sequence[str]) -> Case:
    """The case that a row describes."""
    subject = subject_id(row[_SUBJECT])
    paths = tuple(resolve(root, row[column]) for column in images)
    owner = told_person(row.get(_PARTICIPANT)) or person_of(subject)
    return Case(subject, paths, resolve(root, row[_LABEL]), owner)
