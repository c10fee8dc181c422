"""Tables that come with scans: of the cases themselves, and of what is known of the people.

Cases are listed in a csv file: a row a scan, with a column for each image and one for the labels::

    subject,participant,age,T1w,FLAIR,label
    anna-1,anna,40,scans/anna_1.nii.gz,scans/anna_1_flair.nii.gz,labels/anna_1.nii.gz

Paths lead from the file's folder and stay inside it. ``participant`` may be left out; columns that
name no files, such as ``age``, are told of the subject. A table of people names no files: its rows
tell of a scan, or of all scans of a person.
"""

import csv
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gaborseg.data import Case, person_of, told_person
from gaborseg.machine import of_cell, read_table, read_text
from gaborseg.preparation.discovery import Found, subject_id, unique
from gaborseg.preparation.predefined import SPLIT_COLUMN, part_of
from gaborseg.scans import DataError, Problem, is_scan

_SUBJECT, _LABEL, _PARTICIPANT = "subject", "label", "participant"
_EXCEL = re.compile("sep=.", re.IGNORECASE)
"""A first line by which a file tells Excel its delimiter."""
_IDS = ("participant_id", _SUBJECT)
"""Columns of a table of people that name the scan or the person; without them, the first does."""
_NAMES = (*_IDS, _PARTICIPANT, "")
"""Columns that name, and tell nothing else."""
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
    files = [column for column in columns if any(is_scan(Path(row[column])) for row in rows)]
    images = tuple(channels) or tuple(column for column in files if column != _LABEL)
    missing = [column for column in (_SUBJECT, *images, _LABEL) if column not in columns]
    if missing or not images:
        what = missing[0] if missing else "an image"
        raise DataError(
            f"{path} must have columns {_SUBJECT}, {_LABEL} and one for each image, e.g. T1w: "
            f"{what} is missing among {', '.join(columns) or 'none'}"
        )
    more = [c for c in columns if c not in {*files, *images, *_NAMES, _LABEL}]
    cases, problems = [], []
    told: dict[str, _Row] = {}
    for row in rows:
        found = list(_row_problems(path, row, images))
        problems += found
        if not found:
            cases.append(_case_of_row(path.parent, row, images))
            told[cases[-1].subject] = _told(path, row, more)
    return unique(Found(tuple(cases), images, tuple(problems), told).with_people({}))


def with_table_of_people(found: Found, path: Path) -> Found:
    """The same cases, with what a table tells of them and of their people.

    Args:
        found: The cases.
        path: A csv file or one with tabs. ``participant_id``, ``subject`` or else the first column
            names a scan, or a person whose scans it all tells of; ``participant``, whose the scan
            is; ``split``, whether it is for train, validation or test. All others are kept as they
            are. What the row of a scan tells comes before that of its person. Rows of others are
            left out.

    Raises:
        DataError: It cannot be read, names somebody twice, or nobody who is among the cases.
    """
    columns, rows = _read_rows(path)
    key = next((name for name in _IDS if name in columns), columns[0] if columns else "")
    by_id = _by_id(path, key, rows)
    more = [name for name in columns if name not in (key, *_NAMES)]
    told: dict[str, _Row] = {}
    people: dict[str, str] = {}
    for case in found.cases:
        ids = (subject_id(case.participant), case.subject)
        for row in (by_id[one] for one in ids if one in by_id):
            told[case.subject] = told.get(case.subject, {}) | _told(path, row, more)
            if person := told_person(row.get(_PARTICIPANT)):
                people[case.subject] = person
    if found.cases and not told:
        raise DataError(
            f"{path} must tell of the scans, such as {found.cases[0].subject}: its column "
            f"{key or _IDS[0]} names {', '.join([*by_id][:3]) or 'nobody'}"
        )
    merged = {c.subject: {**found.columns.get(c.subject, {})} for c in found.cases}
    for subject, row in told.items():
        merged[subject] |= row
    return replace(found.with_people(people), columns=merged)


def _by_id(path: Path, key: str, rows: Sequence[_Row]) -> dict[str, _Row]:
    """The rows by whom they tell of; those of nobody are left out.

    Raises:
        DataError: Two tell of the same.
    """
    by_id: dict[str, _Row] = {}
    for row in rows:
        if told_person(row[key]) and by_id.setdefault(subject_id(row[key]), row) is not row:
            raise DataError(f"{path} must name each scan or person once, got {row[key]} twice")
    return by_id


def _told(path: Path, row: _Row, columns: Sequence[str]) -> _Row:
    """What a row tells in some columns, but for empty cells and BIDS' ``n/a``.

    Raises:
        DataError: Its part of a split is none.
    """
    told = {name: of_cell(row[name]) for name in columns if row[name] not in ("", "n/a")}
    if SPLIT_COLUMN not in told:
        return told
    try:
        return told | {SPLIT_COLUMN: part_of(told[SPLIT_COLUMN])}
    except DataError as error:
        raise DataError(
            f"{path}: {error}; if the column tells no split, call it otherwise"
        ) from None


def _read_rows(path: Path) -> tuple[list[str], list[_Row]]:
    """The columns of a csv file, and its rows that are not empty.

    Raises:
        DataError: It cannot be read.
    """
    try:
        lines = read_text(path).lstrip("\r\n").splitlines()
        if _EXCEL.fullmatch("".join(lines[:1]).strip()):
            lines = lines[1:]
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
