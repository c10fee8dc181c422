"""What a data set consists of: cases, their files, and what is known about all of them."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor


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
    """

    root: Path
    name: str
    structures: tuple[str, ...]
    channels: tuple[str, ...]
    cases: tuple[Case, ...]
    info: dict[str, Any] = field(default_factory=dict)

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
