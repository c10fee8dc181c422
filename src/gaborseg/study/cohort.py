"""Checks across runs: one cohort and its people, no run twice, the same subjects in a split."""

import csv
import logging
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from os.path import commonpath
from pathlib import Path
from typing import Any

from gaborseg.data import (
    PARTICIPANTS,
    SUBJECT_PREFIX,
    participant_table,
    person_of,
    renamed,
    told_person,
)
from gaborseg.runs import RunFile
from gaborseg.study.configurations import find_configurations, kernel_of, loss_of
from gaborseg.study.names import readable_split
from gaborseg.study.run_folders import Problem, RunRecord

log = logging.getLogger(__name__)

_SUBJECT, _PERSON, SITE = "participant_id", "participant", "data_set"
_IDENTITY = ("name", "num_subjects", "channels", "seed")  # of data; the size is a setting


def keep_one_cohort(runs: Sequence[RunRecord]) -> tuple[list[RunRecord], list[Problem]]:
    """Return the runs of the most frequent cohort, and a problem for each of the others.

    Where a run does not say what its data were, its structures decide.
    """
    structures = _usual_structures(runs)
    alike = [run for run in runs if _has(run, structures)]
    data = _most_frequent(_identity(run) for run in alike if run.data)
    same = [run for run in alike if run.data and _identity(run) == data]
    known = {subject for run in same for part in _split(run).values() for subject in part}
    kept, left = [], []
    for run in runs:
        if reason := _difference(run, structures or (), dict(data or ()), known):
            left.append(Problem(str(run.folder), f"left out: {reason}"))
        else:
            kept.append(run)
    return kept, left


def _most_frequent(values: Iterable[Any]) -> Any:
    """Return the most frequent value, of several the first; None if there is none."""
    counts = Counter(values).most_common(1)
    return counts[0][0] if counts else None


def _identity(run: RunRecord) -> tuple[tuple[str, str], ...]:
    return tuple((key, str(run.data[key])) for key in _IDENTITY if run.data.get(key) is not None)


def _split(run: RunRecord) -> dict[str, list[str]]:
    return run.data.get("split") or {}


def _difference(
    run: RunRecord, structures: tuple[str, ...], data: dict[str, str], known: set[str]
) -> str:
    if not _has(run, structures):
        return f"its structures ({_shortened(run.structures)}) are not those of most runs"
    for key, value in _identity(run):
        if data.get(key, value) != value:
            return f"its data are others: {key} is {value}, and {data[key]} in most runs"
    strangers = sorted(set(run.scores["subject"]) - known)
    if known and strangers:
        return f"its test subject {strangers[0]} is not in the data of most runs"
    return ""


def _usual_structures(runs: Sequence[RunRecord]) -> tuple[str, ...] | None:
    """Return the most frequent structures, in the order of labels if a run records it."""
    usual = _most_frequent(frozenset(run.structures) for run in runs)
    alike = [run for run in runs if frozenset(run.structures) == usual]
    recorded = [run for run in alike if run.settings is not None]
    return _most_frequent(run.structures for run in recorded or alike)


def _has(run: RunRecord, structures: Sequence[str] | None) -> bool:
    """Return whether a run has these structures; the rows of a table may be in any order."""
    own, wanted = run.structures, tuple(structures or ())
    return own == wanted or (run.settings is None and sorted(own) == sorted(wanted))


def _shortened(names: Sequence[str]) -> str:
    return f"{len(names)}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"


def without_copies(
    runs: Sequence[RunRecord], ignored: Sequence[str]
) -> tuple[list[RunRecord], list[Problem], list[str]]:
    """Return each run once; a problem for each second one that differs, a note on those that don't.

    Two runs are one if configuration, learning rate, split and seed agree. A folder of tables
    alone is a copy of a run of its kernel and loss that has the same scores.
    """
    left: dict[int, Problem | None] = {}
    for first, second in _same_cell(runs, ignored):
        same = _same_scores(runs[first], runs[second])
        left[second] = None if same else _conflict(runs[first], runs[second])
    left |= dict.fromkeys(_tables_of_runs(runs) - left.keys())
    kept = [run for position, run in enumerate(runs) if position not in left]
    problems = [problem for problem in left.values() if problem is not None]
    copies = len(left) - len(problems)
    notes = [f"{copies} run folders hold copies of other runs and count once."] if copies else []
    return kept, problems, notes


def _same_cell(runs: Sequence[RunRecord], ignored: Sequence[str]) -> Iterable[tuple[int, int]]:
    for configuration in find_configurations(runs, ignored):
        for positions in configuration.runs.values():
            first: dict[Hashable, int] = {}
            for position in positions:
                cell = (runs[position].split, runs[position].seed)
                if first.setdefault(cell, position) != position:
                    yield first[cell], position


def _conflict(first: RunRecord, second: RunRecord) -> Problem:
    message = f"left out: the same settings, split and seed as {first.folder}, other scores"
    return Problem(str(second.folder), message)


def _tables_of_runs(runs: Sequence[RunRecord]) -> set[int]:
    """Return the positions of tables that are copies of runs of the same name."""
    whole = [run for run in runs if run.settings is not None]
    return {
        position
        for position, table in enumerate(runs)
        if table.settings is None
        and any(_name(run) == _name(table) and _same_scores(run, table) for run in whole)
    }


def _name(run: RunRecord) -> tuple[str, str]:
    return kernel_of(run), loss_of(run)


def _same_scores(one: RunRecord, other: RunRecord) -> bool:
    return _dice_by_structure(one) == _dice_by_structure(other)


def _dice_by_structure(run: RunRecord) -> dict[tuple[str, str], str]:
    rows = zip(run.scores["subject"], run.scores["structure"], run.scores["dice"], strict=True)
    return {(subject, structure): repr(float(dice)) for subject, structure, dice in rows}


def other_subjects(runs: Sequence[RunRecord]) -> list[Problem]:
    """Return a problem for each run that does not test the subjects of its split.

    These are the ones that most of the split's runs say they test, in ``run.json``.
    """
    usual = {
        split: _most_frequent(_meant(run) for run in runs if run.split == split)
        for split in {run.split for run in runs}
    }
    found = []
    for run in runs:
        tested, wanted = frozenset(run.scores["subject"]), usual[run.split]
        lacking, others, split = wanted - tested, tested - wanted, readable_split(run.split)
        reasons = {
            f"lacks {len(lacking)} of the {len(wanted)} test subjects of {split}": lacking,
            f"tests {len(others)} other subjects than those of {split}": others,
        }
        if told := [reason for reason, subjects in reasons.items() if subjects]:
            message = f"{' and '.join(told)}; comparisons use the subjects that both runs have"
            found.append(Problem(str(run.folder), message))
    return found


def _meant(run: RunRecord) -> frozenset[str]:
    """Return the test subjects that a run says it has; if it does not say, those that it has."""
    return frozenset(_split(run).get("test") or run.scores["subject"])


def absences(runs: Sequence[RunRecord]) -> list[Problem]:
    """Return a problem for each way of lacking scores, with the runs that lack them."""
    folders: dict[str, list[str]] = {}
    for run in runs:
        expected = len(run.scores["subject"].unique()) * len(run.structures)
        there = run.scores["dice"].notna()
        if there.sum() < expected:
            empty = run.scores[~there]
            example = f" ({empty.iloc[0]['structure']} of {empty.iloc[0]['subject']})" * bool(
                len(empty)
            )
            message = (
                f"no Dice for {expected - there.sum()} of {expected} structures of test subjects"
                f"{example}; the means leave them out"
            )
            folders.setdefault(message, []).append(str(run.folder))
    return [
        Problem(first + (f" and {len(more)} more runs" if more else ""), message)
        for message, (first, *more) in folders.items()
    ]


def lost_epochs(runs: Sequence[RunRecord]) -> list[Problem]:
    """Return a problem for each run whose training curves lack epochs that it was trained."""
    told = [(run, len(run.curves), run.outcome.get("epochs")) for run in runs]
    return [
        Problem(str(run.folder), f"{RunFile.CURVES} has {found} of {trained} epochs")
        for run, found, trained in told
        if trained and found < trained
    ]


def people_of(runs: Sequence[RunRecord], subjects: Sequence[str]) -> tuple[str, ...]:
    """Return whose scan each subject is: as runs, their data set or the subject's name tell."""
    told = {subject: person for run in runs for subject, person in run.people.items()}
    rows = participant_rows(runs)
    return tuple(
        told.get(s) or told_person(rows.get(s, {}).get(_PERSON)) or person_of(s) for s in subjects
    )


def participant_rows(runs: Sequence[RunRecord]) -> Mapping[str, Mapping[str, str]]:
    """Return the rows of the tables of participants of the first data set that has one.

    A data set of several folders has several tables: its rows have the names that it gives, and a
    column ``data_set``.
    """
    tables = (_participants(_folders(run)) for run in runs)
    return next((rows for rows in tables if rows), {})


def _folders(run: RunRecord) -> dict[str, str]:
    """Return the folders of a run's data set with the prefixes of their subjects."""
    root = run.data.get("root")
    return run.data.get("roots") or ({root: SUBJECT_PREFIX} if root else {})


def _participants(folders: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return what folders tell of their subjects, and of several which it is, by their names."""
    paths = [Path(root).absolute() for root in folders]
    several = commonpath(paths) if len(paths) > 1 else None
    rows: list[dict[str, str]] = []
    for path, prefix in zip(paths, folders.values(), strict=True):
        place = {SITE: str(path.relative_to(several))} if several else {}
        told = _table(path / PARTICIPANTS) or ([*_subjects(path)] if several else [])
        rows += [place | _renamed(row, prefix) for row in told]
    return {row[_SUBJECT]: row for row in rows}


def _subjects(root: Path) -> Iterator[dict[str, str]]:
    """Yield of each subject of a folder without a table nothing but its name."""
    for folder in sorted(root.glob(f"{SUBJECT_PREFIX}*")):
        yield {_SUBJECT: folder.name}


def source_of(run: RunRecord, subject: str) -> tuple[Path, str]:
    """Return the folder with the files of a subject of a run's data set, and its name in there.

    Of several folders it is the one that has it, or else the first.
    """
    found = [
        (Path(root, own, "anat"), own)
        for root, prefix in (_folders(run) or {"": SUBJECT_PREFIX}).items()
        for own in [SUBJECT_PREFIX + subject.removeprefix(prefix)]
        if subject.startswith(prefix)
    ]
    here = Path(run.data.get("root", ""), subject, "anat"), subject
    return next((pair for pair in found if pair[0].is_dir()), here)


def _renamed(row: dict[str, str], prefix: str) -> dict[str, str]:
    told = [key for key in (_SUBJECT, _PERSON) if told_person(row.get(key))]
    return row | {key: renamed(row[key], prefix) for key in told}


def _table(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    try:
        return participant_table(path)
    except (OSError, ValueError, csv.Error) as error:
        _note_once(f"{path}: nothing is told of the subjects: {error}")
        return []


@cache
def _note_once(text: str) -> None:
    log.warning(f"note: {text}")
