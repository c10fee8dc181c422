"""The native Gabor layer: C++ compiled at first use, cached for the user, absent without complaint.

`native()` is the loaded library, or None where there is no compiler (or GABORSEG_NATIVE=0): callers
then take the pure-torch path, which gives the same numbers. Libraries live under
~/.cache/gaborseg/native (GABORSEG_CACHE moves ~/.cache/gaborseg), one folder for each combination
of sources, flags, torch and CPU.
"""

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock

__all__ = ["cache_folder", "native"]

logger = logging.getLogger(__name__)

SOURCES = Path(__file__).parent / "csrc"
NAME = "gaborseg_native"
FLAGS = (
    "-std=c++20",
    "-O3",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fvisibility=hidden",
)
# The first set that compiles wins: some compilers know neither this CPU by name nor OpenMP.
OPTIONAL_FLAGS = (("-march=native", "-fopenmp"), ("-fopenmp",), ())


@functools.cache
def native() -> ctypes.CDLL | None:
    """Return the compiled library, building it if need be, or None after one warning."""
    if os.environ.get("GABORSEG_NATIVE") == "0":
        logger.warning("GABORSEG_NATIVE=0: Gabor layers use the slower pure-torch path")
        return None
    try:
        return ctypes.CDLL(str(library()))
    except Exception as error:  # whatever is missing: a compiler, ninja, headers, a writable disk
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        logger.warning("no native Gabor layer (%s): using the slower pure-torch path", reason[0])
        return None


def library() -> Path:
    """Return the path of the shared library, compiled now unless it is cached.

    The library appears under its final name in one step, so a process killed while it compiles
    leaves nothing that looks finished; the lock is the operating system's and dies with its owner.
    """
    finished = cache_folder() / fingerprint() / f"{NAME}.so"
    if not finished.exists():
        finished.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(finished.parent / "building"):
            if not finished.exists():
                compile_to(finished)
    return finished


def cache_folder() -> Path:
    """Return the folder that holds the compiled libraries."""
    base = os.environ.get("GABORSEG_CACHE") or Path.home() / ".cache" / "gaborseg"
    return Path(base) / "native"


def fingerprint() -> str:
    """Return a name for this combination of sources, flags, torch version and processor."""
    content = hashlib.sha256(repr((torch.__version__, FLAGS, OPTIONAL_FLAGS, processor())).encode())
    for source in sorted(SOURCES.iterdir()):
        content.update(source.read_bytes())
    return content.hexdigest()[:16]


def processor() -> str:
    """Return what -march=native depends on; a home folder may serve several machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def compile_to(finished: Path) -> None:
    """Compile the sources to the given path; the caller holds the lock on its folder."""
    from torch.utils import cpp_extension  # slow to import, and seldom needed

    logger.info("compiling the native Gabor layer, once: about 20 seconds")
    start = time.perf_counter()
    workshop = finished.parent / "build"  # ours alone: what a killed process left there can go
    for attempt, optional in enumerate(OPTIONAL_FLAGS, start=1):
        shutil.rmtree(workshop, ignore_errors=True)
        workshop.mkdir(exist_ok=True)
        try:
            with scripts_on_path():
                cpp_extension.load(
                    name=NAME,
                    sources=[str(SOURCES / "gabor.cpp")],
                    extra_cflags=[*FLAGS, *optional],
                    extra_ldflags=[flag for flag in optional if flag == "-fopenmp"],
                    build_directory=str(workshop),
                    is_python_module=False,
                )
            break
        except (RuntimeError, OSError):
            if attempt == len(OPTIONAL_FLAGS):
                raise
    (workshop / finished.name).replace(finished)
    shutil.rmtree(workshop, ignore_errors=True)
    logger.info("compiled in %.0f seconds: %s", time.perf_counter() - start, finished)


@contextmanager
def scripts_on_path() -> Iterator[None]:
    """Let subprocesses find ninja beside this Python, activated environment or not."""
    path = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join([path, sysconfig.get_path("scripts")])
    try:
        yield
    finally:
        os.environ["PATH"] = path
