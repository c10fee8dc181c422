"""What a data set consists of: cases, their files, and what is known about all of them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Case:
    """One scan: an image file per channel, and the label map on the same grid.

    ``participant`` is the person; scans of one person share it, and stay in one part of a split.
    """

    subject: str
    images: tuple[Path, ...]
    label: Path
    participant: str

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


class Source(Protocol):
    """Where a data set comes from: a user's folder, or a cohort that is built when asked for."""

    cache: Path

    def dataset(self) -> Dataset:
        """The data set, built first if need be.

        Raises:
            DataError: It is missing or cannot be read.
        """
        ...
