"""What is wrong with a data set or a scan, and what its owner can do."""

from dataclasses import dataclass
from pathlib import Path


class DataError(ValueError):
    """A data set cannot be used; the first line names the file or case, the rule and the value."""

    @classmethod
    def first_of(cls, problems: list[str]) -> "DataError":
        """The first problem with the number of others on one line, then the others."""
        first, *others = problems
        headline = f"{first} (and {len(others)} more)" if others else first
        return cls("\n".join([headline, *others]))


class ScanError(DataError):
    """A file is not a usable scan.

    Args:
        path: The file.
        problem: What is wrong with it, to be read after its name.
        remedy: What its owner can do.
    """

    def __init__(self, path: Path, problem: str, remedy: str) -> None:
        super().__init__(f"{path} {problem}")
        self.path, self.problem, self.remedy = path, problem, remedy


@dataclass(frozen=True)
class Problem:
    """A file, or a folder, that cannot be used.

    Attributes:
        file: Its path.
        problem: What is wrong with it.
        remedy: What to do.
        subject: The scan that it keeps out, or nothing if it concerns them all.
    """

    file: str
    problem: str
    remedy: str
    subject: str = ""

    @classmethod
    def of(cls, error: ScanError, subject: str) -> "Problem":
        """The problem that a file has raised."""
        return cls(str(error.path), error.problem, error.remedy, subject)

    def within(self, root: Path) -> "Problem":
        """The same with the file's path shortened to where it lies under a folder."""
        path = Path(self.file)
        short = path.relative_to(root) if path.is_relative_to(root) else path
        return Problem(str(short), self.problem, self.remedy, self.subject)
