"""What this machine lacks: an error of the system as one line, with the remedy."""

import errno
import os
import re
from collections.abc import Iterator

_ROOM = "make room, then start the same command again"
_REMEDIES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: "raise the limit of a file's size (ulimit -f), then start the same command again",
    errno.EROFS: "choose a folder that can be written to",
    errno.EIO: "see that the disk is whole, then start the same command again",
    errno.EMFILE: "raise the limit of open files (ulimit -n 4096), or set data.num_workers=0",
    errno.ENFILE: "close other programs, then start the same command again",
    errno.ENOMEM: "free memory, or use less of it",
    errno.EADDRINUSE: "set MASTER_PORT to a port that is free",
}
"""What to do about an error of the system, by its number."""
_SHARED = (
    "shared memory (/dev/shm), or the limit of a file's size (ulimit -f), is too small for the "
    "loading processes: set data.num_workers=0, or make it larger (docker run --shm-size=1g)"
)
_MEMORY = (
    "there is too little memory: free some, or use less (data.batch_size, data.patch_size; for "
    "predict patch_size)"
)
_SIGNS = {
    "Too many open files": f"too many open files: {_REMEDIES[errno.EMFILE]}",
    "out of shared memory": _SHARED,
    "</torch_": _SHARED,
    "EADDRINUSE": f"the port of the distributed training is in use: {_REMEDIES[errno.EADDRINUSE]}",
    "out of memory": _MEMORY,
    "not enough memory": _MEMORY,
    "t allocate memory": _MEMORY,
    "failed to map segment": _MEMORY,
    "start new thread": "no more threads may be started: raise the limit (ulimit -u)",
    "No usable temporary directory": "there is no folder for temporary files: set TMPDIR=DIR",
    "has gone from the cache": (
        "prepared arrays have gone from the cache while they were in use: start the same command "
        "again, which prepares them anew"
    ),
    "determine home directory": (
        "there is no home folder for paths with ~: set GABORSEG_CACHE=DIR, and name folders in full"
    ),
}
"""What libraries write in an error whose cause is the machine, and what to say instead."""


_IN_A_WORKER = re.compile(r"OSError: \[Errno (\d+)\] [^\n:]*(?:: ['\"](.*)['\"])?\s*$")
"""How the text of an error ends that a loader's process has raised: number and file."""


class Obstacle(Exception):  # noqa: N818 - nothing in the program is wrong
    """This machine lacks what the work needs; its message, with the remedy, is all that is shown.

    The command is not to be changed: once there is a remedy, the same one goes on.
    """


def obstacle(error: BaseException) -> Obstacle | None:
    """Return what the machine lacks, if that is what an error comes from.

    A ``ValueError`` keeps its own words, which name a file, unless the system tells a reason by
    number.
    """
    for cause in _causes(error):
        if isinstance(cause, Obstacle):
            return cause
        if told := _told_by_number(cause):
            return Obstacle(told)
        if not isinstance(error, ValueError) and (told := _told_by_words(cause)):
            return Obstacle(told)
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, what it was raised from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _told_by_number(error: BaseException) -> str | None:
    number, place = _number_and_place(error) if isinstance(error, OSError) else (None, None)
    if number is None or number not in _REMEDIES:
        return None
    return f"{f'{place}: ' if place else ''}{os.strerror(number)}: {_REMEDIES[number]}"


def _number_and_place(error: OSError) -> tuple[int | None, str | None]:
    """Return the number and the file of an error, also if it was raised in a loader's process.

    Such an error comes with its text alone, at the end of which the original one stands.
    """
    found = _IN_A_WORKER.search(str(error)) if error.errno is None else None
    if found is None:
        return error.errno, error.filename
    return int(found[1]), found[2]


def _told_by_words(error: BaseException) -> str | None:
    if isinstance(error, MemoryError):
        return _MEMORY
    if not isinstance(error, RuntimeError | OSError | ImportError):
        return None
    return next((told for sign, told in _SIGNS.items() if sign in str(error)), None)
