"""A cell of a sweep: one run, and the process that works on it."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gaborseg.machine import open_unlinked
from gaborseg.runs import RunFile

_LAST_LINES = 12
SHELLS_SIGNAL = 128  # a shell returns 128 + n for a process that signal n killed


class SweepFailed(Exception):  # noqa: N818 - it is a result, and the cells have said why
    """Cells of a sweep failed; their own words have been shown."""


@dataclass(frozen=True)
class Cell:
    """A run of a sweep.

    Attributes:
        name: What tells it from the other cells.
        folder: Its run folder.
        command: What starts it, or goes on with it.
        gpus: How many GPUs it uses.
        processes: How many processes of it compute.
        refusal: Why it must not be started, if so.
        remark: What was other code when the part of it that is done was made.
        until: After how many epochs it is to pause; None: it is trained to its end, and tested.
    """

    name: str
    folder: Path
    command: tuple[str, ...]
    gpus: int = 0
    processes: int = 1
    refusal: str = ""
    remark: str = ""
    until: int | None = None


class CellProcess:
    """The process, with its children, that works on a cell; its output goes to the run's log.

    It leads a session of its own, so that a Ctrl-C in the terminal reaches it through us alone.

    Raises:
        OSError: If the folder cannot be written to, or its log is a link.
    """

    def __init__(self, cell: Cell, environment: Mapping[str, str]) -> None:
        cell.folder.mkdir(parents=True, exist_ok=True)
        (cell.folder / RunFile.FAILURE).unlink(missing_ok=True)  # what was wrong may be mended
        self.log = cell.folder / RunFile.LOG
        with os.fdopen(open_unlinked(self.log, os.O_WRONLY | os.O_APPEND), "ab") as file:
            self.begin = file.tell()
            self.process = subprocess.Popen(
                cell.command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**environment},
                start_new_session=True,
            )

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs; what it leaves behind is ended with it."""
        if self.process.returncode is None and self.process.poll() is not None:
            self.signal(signal.SIGKILL)
        return self.process.returncode

    def signal(self, number: signal.Signals, *, group: bool = True) -> None:
        """Send a signal to the process, and to all that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # the latter is macOS's word
            (os.killpg if group else os.kill)(self.process.pid, number)

    def last_lines(self) -> list[str]:
        """Return the last lines that it wrote."""
        try:
            with self.log.open("rb") as file:
                file.seek(self.begin)
                text = file.read().decode(errors="replace")
        except OSError:
            return []
        return [line for line in text.splitlines() if line.strip()][-_LAST_LINES:]


def killed_by(code: int) -> str:
    """Return the name of the signal that ended a process, or nothing if it ended on its own."""
    number = -code if code < 0 else code - SHELLS_SIGNAL
    try:
        return signal.Signals(number).name if number > 0 else ""
    except ValueError:
        return ""
