"""How much memory a call needs beyond what its process holds already."""

import ctypes
import gc
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gaborseg.machine import PAGES, returning_freed_memory

_PROCESS = Path("/proc/self")
_RESET_PEAK = "5"  # written to clear_refs: the peak starts again from the present size
_MEGABYTE = 2**20
_LARGEST_GAP = 2**33
_WORD = ctypes.sizeof(ctypes.c_size_t)
_MAPPED = 2  # the bit that glibc sets in the word before a block that is mapped for itself


def extra_peak_memory(function: Callable[[], object]) -> float | None:
    """Growth of the process's resident memory while a function runs, at its peak, in MiB.

    The function runs once before, so that libraries have set themselves up. Whatever ran before,
    memory that was freed then goes back to the system, at first and as it is freed. Only Linux with
    glibc can tell: None elsewhere.
    """
    with returning_freed_memory():
        function()
        gc.collect()
        try:
            libc = _libc()
            libc.malloc_trim(0)
            (_PROCESS / "clear_refs").write_text(_RESET_PEAK)
        except (AttributeError, OSError):
            return None
        with _no_gaps(libc):
            before = _resident("VmRSS")
            function()
            return (_resident("VmHWM") - before) / _MEGABYTE


@contextmanager
def _no_gaps(libc: ctypes.CDLL) -> Iterator[None]:
    """Occupy the gaps that freed blocks left in the heap, untouched, so that nothing goes there.

    A large block in a gap would stay resident when it is freed, and so count twice.
    """
    plugs: list[int] = []
    size = _LARGEST_GAP
    while size >= PAGES:
        block = libc.malloc(size)
        if block and not _is_mapped(block):
            plugs.append(block)
        else:
            libc.free(block)
            size //= 2
    try:
        yield
    finally:
        for plug in plugs:
            libc.free(plug)


def _is_mapped(block: int) -> bool:
    """Tell whether a block lies outside the heap, mapped for itself."""
    return bool(ctypes.c_size_t.from_address(block - _WORD).value & _MAPPED)


def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    return libc


def _resident(field: str) -> int:
    """A size in bytes from the kernel's account of this process."""
    match = re.search(rf"{field}:\s+(\d+) kB", (_PROCESS / "status").read_text())
    return int(match[1]) * 1024 if match else 0
