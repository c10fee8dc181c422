"""How much memory a call needs beyond what its process holds already."""

import ctypes
import gc
import re
from collections.abc import Callable
from pathlib import Path

from src.allocator import returning_freed_memory

PROCESS = Path("/proc/self")
RESET_PEAK = "5"  # written to clear_refs: the peak starts again from the present size
MEGABYTE = 2**20


def extra_peak_memory(function: Callable[[], object]) -> float | None:
    """Growth of the process's resident memory while a function runs, at its peak, in MiB.

    The function runs once before, so that libraries have set themselves up; memory that was freed
    then goes back to the system first, and as it is freed. Measure memory before anything is timed:
    where freed memory was kept, large blocks still go to the gaps it left, which count as used.
    Only Linux with glibc can tell: None elsewhere.
    """
    with returning_freed_memory():
        function()
        gc.collect()
        try:
            ctypes.CDLL(None).malloc_trim(0)
            (PROCESS / "clear_refs").write_text(RESET_PEAK)
        except (AttributeError, OSError):
            return None
        before = _resident("VmRSS")
        function()
        return (_resident("VmHWM") - before) / MEGABYTE


def _resident(field: str) -> int:
    """A size in bytes from the kernel's account of this process."""
    match = re.search(rf"{field}:\s+(\d+) kB", (PROCESS / "status").read_text())
    return int(match[1]) * 1024 if match else 0
