"""Native libraries: C++ compiled at first use, cached for the user, absent without complaint.

`native_library` returns a loaded library, or None where there is no compiler (or
GABORSEG_NATIVE=0): callers then take the pure-torch path, which gives the same numbers. Libraries
live under ~/.cache/gaborseg/native (GABORSEG_CACHE moves ~/.cache/gaborseg), one folder for each
combination of sources, flags, torch and CPU.
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

from gaborseg.machine import cache_folder

logger = logging.getLogger(__name__)

FLAGS = (
    "-std=c++20",
    "-O3",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fvisibility=hidden",
)
# The first set that compiles wins: some compilers know neither this CPU by name nor OpenMP.
_OPTIONAL_FLAGS = (("-march=native", "-fopenmp"), ("-fopenmp",), ())


@functools.cache
def native_library(name: str, sources: Path) -> ctypes.CDLL | None:
    """Return a library, compiled if need be, or None after one warning.

    Args:
        name: What it is the code of, a plural such as "layers".
        sources: Folder of the C++ sources: every *.cpp is compiled, headers stand beside them.
    """
    if os.environ.get("GABORSEG_NATIVE") == "0":
        warn("GABORSEG_NATIVE=0")
        return None
    try:
        return ctypes.CDLL(str(library_file(name, sources)))
    except Exception as error:  # whatever is missing: a compiler, ninja, headers, a writable disk
        warn(next(iter(str(error).strip().splitlines()), type(error).__name__))
        return None


@functools.cache
def warn(reason: str) -> None:
    """Say once, for all libraries, why there is no native code."""
    logger.warning("no native code (%s): using slower pure-torch paths", reason)


def library_file(name: str, sources: Path) -> Path:
    """Return the path of a shared library, compiled now unless it is cached.

    The library appears under its final name in one step, so a process killed while it compiles
    leaves nothing that looks finished; the lock is the operating system's and dies with its owner.
    """
    finished = cache_folder() / "native" / fingerprint(sources) / f"{name}.so"
    if not finished.exists():
        finished.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(finished.parent / "building"):
            if not finished.exists():
                _compile_to(finished, sources)
    return finished


def fingerprint(sources: Path) -> str:
    """Return a name for this combination of sources, flags, torch version and processor."""
    content = hashlib.sha256(
        repr((torch.__version__, FLAGS, _OPTIONAL_FLAGS, processor())).encode()
    )
    for source in sorted(sources.iterdir()):
        content.update(source.read_bytes())
    return content.hexdigest()[:16]


def processor() -> str:
    """Return what -march=native depends on; a home folder may serve several machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _compile_to(finished: Path, sources: Path) -> None:
    """Compile the sources to the given path; the caller holds the lock on its folder."""
    logger.info("compiling the native %s, once: up to 20 seconds", finished.stem)
    start = time.perf_counter()
    workshop = finished.parent / "build"  # ours alone: what a killed process left there can go
    for optional in _OPTIONAL_FLAGS:
        shutil.rmtree(workshop, ignore_errors=True)
        workshop.mkdir()
        try:
            build(finished.stem, sources, workshop, optional)
            break
        except (RuntimeError, OSError):
            if optional == _OPTIONAL_FLAGS[-1]:
                raise
    (built,) = workshop.glob("*.so")  # torch numbers the name when it is built anew
    built.replace(finished)
    shutil.rmtree(workshop, ignore_errors=True)
    logger.info("compiled in %.0f seconds: %s", time.perf_counter() - start, finished)


def build(name: str, sources: Path, workshop: Path, optional: tuple[str, ...]) -> None:
    """Compile every *.cpp of the sources into one shared library in the workshop."""
    from torch.utils import cpp_extension  # slow to import, and seldom needed

    with _scripts_on_path():
        cpp_extension.load(
            name=f"gaborseg_{name}",
            sources=[str(source) for source in sorted(sources.glob("*.cpp"))],
            extra_cflags=[*FLAGS, *optional],
            extra_ldflags=[flag for flag in optional if flag == "-fopenmp"],
            build_directory=str(workshop),
            is_python_module=False,
        )


@contextmanager
def _scripts_on_path() -> Iterator[None]:
    """Let subprocesses find ninja beside this Python, activated environment or not."""
    path = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join([path, sysconfig.get_path("scripts")])
    try:
        yield
    finally:
        os.environ["PATH"] = path
