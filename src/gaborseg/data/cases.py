"""What a data set consists of: cases, their files, and what is known about all of them."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from gaborseg.scans import DataError

EMPTY = "empty"
"""In a description: subjects without any structure, such as healthy controls, if there are."""
SUBJECT_PREFIX = "sub-"
"""How the names of subjects begin."""
BETWEEN_NAMES = " + "
"""Between the names of data sets that are used as one."""
_ALIKE: dict[str, Any] = {"window": None, "forms": "agree", "volumes": [], "num_volumes": 1}
"""What must be the same in the preparations of data sets that are used together, and what it is
where it is not told."""


@dataclass(frozen=True)
class Case:
    """One scan: an image file per channel, and the label map on the same grid.

    ``participant`` is the person; scans of one person share it, and stay in one part of a split.
    ``unlabelled`` are the labels of structures that nobody has looked for in the scan.
    """

    subject: str
    images: tuple[Path, ...]
    label: Path
    participant: str
    unlabelled: tuple[int, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """All files of the case, images first."""
        return (*self.images, self.label)


@dataclass(frozen=True)
class Dataset:
    """A folder of cases with the names of its structures (labels 1..n, in order) and channels.

    ``info`` is the whole content of the folder's ``dataset.json``: credit, licence, versions.
    ``prefixes`` says of several folders how the names of each one's subjects begin here.
    """

    root: Path
    name: str
    structures: tuple[str, ...]
    channels: tuple[str, ...]
    cases: tuple[Case, ...]
    info: dict[str, Any] = field(default_factory=dict)
    prefixes: dict[str, str] = field(default_factory=dict)

    @property
    def subjects(self) -> tuple[str, ...]:
        """Subject ids in the order of the cases."""
        return tuple(case.subject for case in self.cases)

    @property
    def participants(self) -> tuple[str, ...]:
        """The person of each case."""
        return tuple(case.participant for case in self.cases)

    @property
    def unlabelled(self) -> Tensor | None:
        """Which labels nobody has looked for in each case, (cases, n + 1) bool; None without any.

        The background, label 0, is never among them.
        """
        if not any(case.unlabelled for case in self.cases):
            return None
        table = torch.zeros(len(self.cases), len(self.structures) + 1, dtype=torch.bool)
        for row, case in zip(table, self.cases, strict=True):
            row[list(case.unlabelled)] = True
        return table


def told_person(cell: str | None) -> str | None:
    """The person that a cell of a table names; None for an empty one, and for BIDS' ``n/a``."""
    name = (cell or "").strip()
    return None if name in ("", "n/a") else name


def person_of(subject: str) -> str:
    """The person whose scan it is, by the scan's id: without session and run.

    >>> person_of("sub-01_ses-2")
    'sub-01'
    """
    return re.sub(r"_(ses|run)-[^_]+", "", subject)


def shared_files(cases: Iterable[Case]) -> Iterator[tuple[Case, Path, Path]]:
    """Cases with a file that is also another person's, or twice their own, and the other's path.

    Links may lead to one file, such as a template. Scans of one person may share a label map.
    """
    users: dict[tuple[int, int], list[tuple[Case, Path]]] = defaultdict(list)
    for case in cases:
        for path in case.files:
            if path.is_file():
                state = path.stat()
                users[state.st_dev, state.st_ino].append((case, path))
    for own in users.values():
        people = {case.participant for case, _ in own}
        if len(people) > 1 or len({case.subject for case, _ in own}) < len(own):
            for place, (case, path) in enumerate(own):
                yield case, path, own[place - 1][1]


class Source(Protocol):
    """Where a data set comes from: a user's folder, or a cohort that is built when asked for."""

    cache: Path

    def dataset(self) -> Dataset:
        """The data set, built first if need be.

        Raises:
            DataError: It is missing or cannot be read.
        """
        ...


def rescanned(dataset: Dataset) -> dict[str, str]:
    """Whose scan each subject is, of those that are not their person's only one."""
    counts = Counter(dataset.participants)
    pairs = zip(dataset.subjects, dataset.participants, strict=True)
    return {subject: person for subject, person in pairs if counts[person] > 1}


def merged(datasets: Sequence[Dataset]) -> Dataset:
    """Several data sets as one, the cases in order.

    Where two have a subject of the same name, all subjects and people have the data set's name in
    theirs. A single channel may be called otherwise in each.

    Raises:
        DataError: They differ in structures, channels, or how they were prepared.
    """
    first, *others = datasets
    for other in others:
        _check_alike(first, other)
    counts = Counter(subject for one in datasets for subject in one.subjects)
    prefixes = _prefixes(datasets) if max(counts.values()) > 1 else [SUBJECT_PREFIX] * len(datasets)
    parts = [_renamed(*pair) for pair in zip(datasets, prefixes, strict=True)]
    name = BETWEEN_NAMES.join(one.name for one in datasets)
    told = {key: [one.info.get(key) for one in datasets] for key in ("credit", "licence")}
    info = {
        **first.info,
        **{
            key: "; ".join(dict.fromkeys(filter(None, found))) or None
            for key, found in told.items()
        },
        "name": name,
        "preparation": _common([one.info.get("preparation") or {} for one in datasets]),
        EMPTY: [subject for one in parts for subject in one.info.get(EMPTY, ())],
    }
    cases = tuple(case for one in parts for case in one.cases)
    roots = {str(one.root): prefix for one, prefix in zip(datasets, prefixes, strict=True)}
    return replace(first, name=name, cases=cases, info=info, prefixes=roots)


def _check_alike(first: Dataset, other: Dataset) -> None:
    """Check that two data sets can be used together.

    Raises:
        DataError: They cannot.
    """
    several = len(first.channels) > 1 or len(other.channels) > 1
    pairs = {"structures": (first.structures, other.structures)}
    if several:
        pairs["channels"] = (first.channels, other.channels)
    for what, (here, there) in pairs.items():
        if here != there:
            raise DataError(
                f"{other.root} must have the {what} of {first.root}, {', '.join(here)}, got "
                f"{', '.join(there)}: prepare both with the same {what}=[...]"
            )
    preparations = [one.info.get("preparation") or {} for one in (first, other)]
    for key, usual in _ALIKE.items():
        wanted, found = (preparation.get(key, usual) for preparation in preparations)
        if wanted != found:
            raise DataError(
                f"{other.root} must be prepared like {first.root}, with {key} {wanted}, got {found}"
            )


def _prefixes(datasets: Sequence[Dataset]) -> list[str]:
    """How names of subjects and people begin if they are called after their data set, too."""
    names = [re.sub(r"[^\w]+", "-", one.name).strip("-") for one in datasets]
    if len({*names}) < len(names):
        names = [f"{name}-{place}" for place, name in enumerate(names, start=1)]
    return [f"{SUBJECT_PREFIX}{name}-" for name in names]


def renamed(name: str, prefix: str) -> str:
    """The name of a subject or person with a prefix for that of its data set; ``sub-`` is none.

    >>> renamed("sub-01", "sub-siteA-")
    'sub-siteA-01'
    """
    return name if prefix == SUBJECT_PREFIX else prefix + name.removeprefix(SUBJECT_PREFIX)


def own_names(subjects: Sequence[str], prefixes: Collection[str]) -> list[str]:
    """The names that subjects have in their own folders, if their data set is of several.

    Args:
        subjects: Names in the data set.
        prefixes: How the names of each folder's subjects begin there; none of a single folder.

    >>> own_names(["sub-siteA-01", "sub-siteB-01"], ["sub-siteA-", "sub-siteB-"])
    ['sub-01', 'sub-01']
    """
    longest = sorted(prefixes, key=len, reverse=True)
    found = (next((p for p in longest if subject.startswith(p)), "") for subject in subjects)
    return [
        SUBJECT_PREFIX + subject.removeprefix(prefix) if prefix else subject
        for subject, prefix in zip(subjects, found, strict=True)
    ]


def _renamed(dataset: Dataset, prefix: str) -> Dataset:
    def of(subject: str) -> str:
        return renamed(subject, prefix)

    cases = (
        replace(case, subject=of(case.subject), participant=of(case.participant))
        for case in dataset.cases
    )
    info = {**dataset.info, EMPTY: [of(subject) for subject in dataset.info.get(EMPTY, ())]}
    return replace(dataset, cases=tuple(cases), info=info)


def _common(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What is the same in all parts."""
    first, *others = parts
    return {k: v for k, v in first.items() if all(k in part and part[k] == v for part in others)}
