"""Where freed memory goes: a training step asks for the same large blocks again and again."""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h
_NEVER, _LARGEST, PAGES = -1, 2**31 - 1, 2**17


def keep_freed_memory() -> bool:
    """Keep freed memory in the process for the next allocation; return whether that took effect.

    By default glibc maps every large block anew and unmaps it when it is freed, so that each
    tensor of each step is paid for with page faults. Blocks of 2 GiB and more are still mapped.
    The process stays as large as it has been at its peak, and gaps between blocks make that peak
    higher. Only Linux with glibc has this setting: elsewhere nothing happens.
    """
    return _set(_M_MMAP_THRESHOLD, _LARGEST) and _set(_M_TRIM_THRESHOLD, _NEVER)


@contextmanager
def returning_freed_memory() -> Iterator[None]:
    """Map large blocks one by one within the block, so that the process holds only what is in use.

    Freed memory is kept afterwards.
    """
    _set(_M_MMAP_THRESHOLD, PAGES)
    try:
        yield
    finally:
        keep_freed_memory()


def _set(parameter: int, value: int) -> bool:
    if platform.libc_ver()[0] != "glibc":
        return False
    return bool(ctypes.CDLL(None).mallopt(parameter, value))
