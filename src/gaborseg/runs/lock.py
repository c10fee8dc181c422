"""A folder that one process at a time works on: the lock dies with its owner, however that ends.

The lock is a POSIX record lock on the file ``.lock``: unlike the other kinds, a process's forked
children (workers of a data loader) do not share it, so it is free as soon as its owner is dead.
"""

import contextlib
import errno
import fcntl
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from gaborseg.machine import open_unlinked

LOCK = ".lock"
_TAKEN = (errno.EACCES, errno.EAGAIN)
_OWNER = "process "  # how the owner's words in the file begin
_MOST_READ = 200
_PATIENCE = 0.5  # seconds: ``is_locked`` of another process holds the lock for an instant
_PAUSE = 0.02


@contextlib.contextmanager
def locked(folder: Path, patience: float = _PATIENCE) -> Iterator[None]:
    """Hold a folder against other processes.

    Args:
        folder: What is held; made if need be, and removed again if it stays empty.
        patience: Seconds to wait for another process that holds it.

    Raises:
        BlockingIOError: If another process holds it; the message says which.
        FileExistsError: If ``.lock`` is a link or somebody's file.
        OSError: If its file system has no locks, so that nobody can tell whether it is held.
    """
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    file = _take(folder / LOCK, patience)
    try:
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)
        file.close()
        if new:
            with contextlib.suppress(OSError):  # it is not empty
                folder.rmdir()


def is_locked(folder: Path) -> bool:
    """Return whether another process holds a folder; the owner itself must not ask."""
    try:
        with os.fdopen(os.open(folder / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)) as file:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in _TAKEN
    return False


def _take(path: Path, patience: float) -> TextIO:
    """Return the file, locked, with this process's words in it.

    It is opened without being emptied: what it holds may be somebody's work.
    """
    deadline = time.monotonic() + patience
    while True:
        file = os.fdopen(open_unlinked(path, os.O_RDWR), "r+", errors="replace")
        words = file.read(_MOST_READ)
        if words and not words.startswith(_OWNER):
            file.close()
            raise FileExistsError(f"{path} must be a lock, and is a file of yours: move it away")
        if _try_lock(file, path) and _is_at(file, path):
            file.seek(0)
            file.truncate()
            file.write(f"{_OWNER}{os.getpid()} on {platform.node()}")
            file.flush()
            return file
        file.close()
        if time.monotonic() > deadline:
            raise BlockingIOError(f"{path.parent} is in use by {words or 'another process'}")
        time.sleep(_PAUSE)


def _try_lock(file: TextIO, path: Path) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        raise OSError(
            f"{path.parent} cannot be locked ({error.strerror}), so that two processes "
            "could do the same work: choose a folder on another file system"
        ) from error
    return True


def _is_at(file: TextIO, path: Path) -> bool:
    """Return whether an open file still is the one at a path: its last owner removes it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
