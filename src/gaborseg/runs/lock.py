"""A folder that one process at a time works on: the lock dies with its owner, however that ends.

The lock is a POSIX record lock on the file ``.lock``: unlike the other kinds, a process's forked
children (workers of a data loader) do not share it, so it is free as soon as its owner is dead.
"""

import contextlib
import errno
import fcntl
import logging
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from gaborseg.machine import open_unlinked

log = logging.getLogger(__name__)

NAME = ".lock"
_TAKEN = (errno.EACCES, errno.EAGAIN)
_OWNER = "process "  # how the owner's words in the file begin
_MOST_READ = 200
_ATTEMPTS, _PAUSE = 5, 0.1  # ``is_locked`` of another process holds the lock for an instant


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder, made if need be, against other processes.

    Raises:
        BlockingIOError: If another process holds it; the message says which.
        FileExistsError: If ``.lock`` is a link or somebody's file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = _take(folder / NAME)
    try:
        yield
    finally:
        (folder / NAME).unlink(missing_ok=True)
        file.close()


def is_locked(folder: Path) -> bool:
    """Return whether another process holds a folder; the owner itself must not ask."""
    try:
        with os.fdopen(os.open(folder / NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)) as file:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in _TAKEN
    return False


def _take(path: Path) -> TextIO:
    """Return the file, locked, with this process's words in it.

    It is opened without being emptied: what it holds may be somebody's work.
    """
    words = ""
    for _ in range(_ATTEMPTS):
        file = os.fdopen(open_unlinked(path, os.O_RDWR), "r+", errors="replace")
        words = file.read(_MOST_READ)
        if words and not words.startswith(_OWNER):
            file.close()
            raise FileExistsError(f"{path} must be a lock, and is a file of yours: move it away")
        if _try_lock(file):
            if _is_at(file, path):
                file.seek(0)
                file.truncate()
                file.write(f"{_OWNER}{os.getpid()} on {platform.node()}")
                file.flush()
                return file
        else:
            time.sleep(_PAUSE)
        file.close()
    raise BlockingIOError(f"{path.parent} is in use by {words or 'another process'}")


def _try_lock(file: TextIO) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        log.warning(f"{file.name} cannot be locked on this file system: {error}")
    return True


def _is_at(file: TextIO, path: Path) -> bool:
    """Return whether an open file still is the one at a path: its last owner removes it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
