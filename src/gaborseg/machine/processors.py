"""The processors, devices and memory that this process uses, and how long it may live."""

import ctypes
import errno
import os
import platform
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_PR_SET_PDEATHSIG = 1
_FEWEST_FILES = 64
"""That a process may open if others load for it: with 20, what they load was lost, and it waited
for ever."""


def available_processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_open_files() -> None:
    """Check that this process may open as many files as loading processes need.

    Raises:
        OSError: It may not; the number is that of too many open files.
    """
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < _FEWEST_FILES:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def peak_memory(device: "torch.device") -> int:
    """Return the most bytes held at a time: by torch on a GPU, else by the whole process in RAM.

    0 where the system does not tell.
    """
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def device_name(device: "torch.device") -> str:
    """Return the name of a GPU, or of the processor with the number of threads that torch uses."""
    import torch  # slow to import

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{processor_name()}, {threads} thread{'s' if threads > 1 else ''}"


def processor_name() -> str:
    """Return the model of the processor where the system tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def die_with_parent() -> None:
    """Have Linux kill this process, even if it is stopped, when the one that started it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
