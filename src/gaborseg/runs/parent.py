"""Processes that end when the one that started them ends, even if that one was killed."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

from gaborseg.machine import die_with_parent

_PARENT = "GABORSEG_PARENT"
_PAUSE = 0.5


def lead_children() -> dict[str, str]:
    """Return what to add to the environment of children that shall end with this process."""
    return {_PARENT: str(os.getpid())}


@contextlib.contextmanager
def lead_these() -> Iterator[None]:
    """Let the processes that anybody starts in this block end with this process."""
    os.environ.update(lead_children())
    try:
        yield
    finally:
        os.environ.pop(_PARENT, None)


def end_with_parent() -> None:
    """End this process with its parent, if that asked for it with ``lead_children``."""
    told = os.environ.pop(_PARENT, "")
    parent = int(told) if told.isdecimal() else 0
    if not parent:
        return
    if sys.platform == "linux":
        die_with_parent()
    else:
        watch_parent(parent)
    if os.getppid() != parent and not _is_alive(parent):  # it ended before it could be watched
        os.kill(os.getpid(), signal.SIGKILL)


def _is_alive(process: int) -> bool:
    """Return whether there is a process; between it and this one may be others, as a shell."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def watch_parent(parent: int) -> None:
    """Kill this process, from a thread, within half a second of its parent's end."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_PAUSE)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()
