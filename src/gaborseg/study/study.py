"""All runs of a report as arrays: one cohort, finished runs, and what had to be left out."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gaborseg.runs import RunFileError, TidyRun
from gaborseg.study.cohort import (
    absences,
    keep_one_cohort,
    lost_epochs,
    other_subjects,
    people_of,
    without_copies,
)
from gaborseg.study.configurations import (
    Configuration,
    find_configurations,
    partly_recorded,
    telling_settings,
)
from gaborseg.study.run_folders import SCORES, Problem, RunRecord, read_records, tidy_run

Array = NDArray[np.float64]

_MOST_NAMED = 3
"""Folders that an error names."""


@dataclass(frozen=True)
class Study:
    """The runs of a report.

    Attributes:
        runs: Finished runs of one cohort, in the order of their folders (R).
        configurations: What they are runs of.
        structures: Names, in the order of their labels (T).
        subjects: All subjects that were tested (S).
        people: Whose scan each of them is (S): the independent units.
        scores: By name of the score, (R, S, T); NaN where a subject was not tested or the score
            does not exist. Dice is always there.
        unfinished: Runs that were started and not finished.
        missing: Folders of runs that a sweep has planned and not begun.
        problems: What is wrong with run folders, and which were left out.
        notes: What else the reader should know.
    """

    runs: tuple[RunRecord, ...]
    configurations: tuple[Configuration, ...]
    structures: tuple[str, ...]
    subjects: tuple[str, ...]
    people: tuple[str, ...]
    scores: dict[str, Array]
    unfinished: tuple[RunRecord, ...]
    missing: tuple[Path, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    @property
    def rates(self) -> list[float]:
        """All learning rates, lowest first."""
        return sorted({run.rate for run in self.runs if run.rate is not None})


def read_runs(paths: Iterable[Path]) -> tuple[list[RunRecord], list[Problem]]:
    """Return what run folders and tidy tables say, and a problem for each that cannot be read."""
    records: list[RunRecord] = []
    problems = []
    for path in paths:
        try:
            records += read_records(path)
        except RunFileError as error:
            problems.append(Problem(str(path), f"left out: {error}"))
    return records, problems


def make_study(
    records: Sequence[RunRecord],
    problems: Sequence[Problem] = (),
    ignored: Sequence[str] = (),
    planned: Iterable[Path] = (),
) -> Study:
    """Return the study of runs that were read; other cohorts and copies are left out.

    Args:
        records: Finished and unfinished runs.
        problems: Found when they were read.
        ignored: Settings, or groups of them, whose differences do not make another configuration:
            those that decide no result, and what the user does not care for.
        planned: Folders of all runs that sweeps consist of.

    Raises:
        ValueError: If no run is finished.
    """
    runs, others = keep_one_cohort([record for record in records if record.done])
    if not runs:
        folders = ", ".join(str(record.folder) for record in [*records][:_MOST_NAMED])
        first = f"; {problems[0]}" if problems else ""
        raise ValueError(
            f"runs must hold a finished run, got {len(records)} unfinished ({folders}){first}"
        )
    runs, copies, notes = without_copies(runs, ignored)
    subjects = tuple(sorted({subject for run in runs for subject in run.scores["subject"]}))
    arrays = _arrays(runs, subjects, runs[0].structures)
    configurations = find_configurations(runs, ignored)
    return Study(
        runs=tuple(runs),
        configurations=tuple(configurations),
        structures=runs[0].structures,
        subjects=subjects,
        people=people_of(runs, subjects),
        scores=arrays | _volume_errors(arrays),
        unfinished=tuple(record for record in records if not record.done),
        missing=tuple(sorted({p.resolve() for p in planned} - _folders(records, problems))),
        problems=(
            *problems,
            *others,
            *copies,
            *other_subjects(runs),
            *absences(runs),
            *lost_epochs(runs),
        ),
        notes=(
            *notes,
            *_version_notes(runs),
            *_unrecorded_notes(partly_recorded(runs, configurations, ignored)),
        ),
    )


def tidy_runs(study: Study, ignored: Sequence[str] = ()) -> list[TidyRun]:
    """Return the finished runs of a study as a tidy table holds them.

    Args:
        study: The runs.
        ignored: As it was made with.
    """
    settings = telling_settings(study.runs, ignored)
    counts = Counter(study.people)
    pairs = zip(study.subjects, study.people, strict=True)
    told = {subject for run in study.runs for subject in run.people}
    people = {s: p for s, p in pairs if counts[p] > 1 or s in told or p != s}
    return [tidy_run(*pair, people) for pair in zip(study.runs, settings, strict=True)]


def _folders(records: Sequence[RunRecord], problems: Sequence[Problem]) -> set[Path]:
    told = [record.folder for record in records] + [Path(problem.folder) for problem in problems]
    return {folder.resolve() for folder in told}


def _arrays(
    runs: Sequence[RunRecord], subjects: Sequence[str], structures: Sequence[str]
) -> dict[str, Array]:
    rows = {name: row for row, name in enumerate(subjects)}
    columns = {name: column for column, name in enumerate(structures)}
    recorded = [name for name in SCORES if any(name in run.scores for run in runs)]
    shape = (len(runs), len(subjects), len(structures))
    arrays = {name: np.full(shape, np.nan) for name in recorded}
    for position, run in enumerate(runs):
        row, column = run.scores["subject"].map(rows), run.scores["structure"].map(columns)
        for name in recorded:
            if name in run.scores:
                arrays[name][position, row, column] = run.scores[name]
    kept = {name for name, values in arrays.items() if name == "dice" or not np.isnan(values).all()}
    return {name: values for name, values in arrays.items() if name in kept}


def _volume_errors(arrays: dict[str, Array]) -> dict[str, Array]:
    """Return predicted minus true volume, relative to the true one, with its sign and without."""
    if not {"volume", "true_volume"} <= arrays.keys():
        return {}
    truth = np.where(arrays["true_volume"] > 0, arrays["true_volume"], np.nan)
    error = arrays["volume"] / truth - 1
    return {"volume_error": error, "absolute_volume_error": np.abs(error)}


def _version_notes(runs: Sequence[RunRecord]) -> list[str]:
    commits = {run.versions.get("git_commit") for run in runs} - {None}
    if len(commits) < 2:
        return []
    return [f"The runs were made by {len(commits)} versions of the code; see the table of runs."]


def _unrecorded_notes(keys: Sequence[str], shown: int = 3) -> list[str]:
    if not keys:
        return []
    more = f" and {len(keys) - shown} more" if len(keys) > shown else ""
    return [
        f"Some versions of the code do not record {', '.join(keys[:shown])}{more}; their runs "
        "count as repeats of those that do."
    ]
