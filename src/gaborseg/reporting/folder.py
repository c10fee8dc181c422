"""The folder of a report: files are added whole, and those of an earlier report replaced."""

import contextlib
import json
from pathlib import Path

from gaborseg.machine import (
    load_json,
    read_text,
    refuse_link,
    refuse_links_to,
    write_atomically,
    write_text,
)
from gaborseg.runs import LOCK, REPORT_MARK

_MAKER = "python -m src.report"
"""What a report's mark says made it: files of that name are common."""


class ReportFolder:
    """The folder of a report: files are added whole, and those of an earlier report replaced.

    Args:
        path: New, empty, or the folder of an earlier report.

    Raises:
        FileExistsError: If the folder holds anything else, or a link to a folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mark = path / REPORT_MARK
        self.files: list[str] = []
        if path.exists() and not path.is_dir():
            raise FileExistsError(f"output must be a folder, got the file {path}")
        self.earlier = files_of(self.mark)
        others = path.exists() and any(file.name != LOCK for file in path.iterdir())
        if others and self.earlier is None:
            raise FileExistsError(
                f"output must be new, empty or an earlier report, got {path} with other files"
            )

        for child in path.iterdir() if path.exists() else ():
            if child.is_dir():
                refuse_link(child)

    def begin(self) -> None:
        """Mark the folder as that of a report, so that one that breaks off is no obstacle."""
        self._mark(self.earlier or [])

    def write(self, name: str, content: str | bytes) -> None:
        """Write a file, whole or not at all.

        Raises:
            ValueError: If its name leads out of the folder.
        """
        path = self.path / name
        if ".." in Path(name).parts:
            raise ValueError(f"a file of a report must be in its folder, got {name}")
        with write_atomically(path, "wb") as file:
            file.write(
                content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
            )
        self.files.append(name)

    def finish(self) -> None:
        """Remove files of an earlier report that this one does not have, and note those it has."""
        for name in set(self.earlier or []) - set(self.files):
            with contextlib.suppress(OSError, ValueError):  # no file, or beyond a link
                refuse_links_to(self.path, name)
                (self.path / name).unlink()
        self._mark(sorted(self.files))

    def _mark(self, files: list[str]) -> None:
        text = json.dumps({"made_by": _MAKER, "files": files}, indent=1) + "\n"
        write_text(self.mark, text)


def files_of(mark: Path) -> list[str] | None:
    """Return the files of the report that a mark is of, None if it is no mark of ours."""
    try:
        record = load_json(read_text(mark))
        ours = record["made_by"] == _MAKER
    except (OSError, ValueError, KeyError, TypeError):
        return None
    names = record.get("files")
    texts = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
    inside = (name for name in texts if ".." not in Path(name).parts)
    return [name for name in inside if not Path(name).is_absolute()] if ours else None
