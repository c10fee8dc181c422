"""What is wrong with a scan, and what its owner can do: one row of the table of problems."""

from dataclasses import dataclass
from pathlib import Path

from src.data.scans import ScanError


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
