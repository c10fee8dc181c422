"""Native libraries: C++ compiled at first use, cached for the user, absent without complaint.

`native_library` returns a loaded library, or None where there is no compiler (or
GABORSEG_NATIVE=0): callers then take the pure-torch path, which gives the same numbers. Libraries
live under ~/.cache/gaborseg/native (GABORSEG_CACHE moves ~/.cache/gaborseg), one folder for each
combination of sources, flags, torch and CPU.

Loading a library runs its code. So only files of this user's (or root's) that nobody else may write
are loaded, and only if they have the digest that was noted when they were compiled: a library that
was cut, emptied or replaced is compiled again.
"""

import contextlib
import ctypes
import functools
import hashlib
import json
import logging
import os
import platform
import shlex
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path

import torch
from filelock import FileLock

from gaborseg.machine import cache_folder, load_json, read_text, write_atomically

_log = logging.getLogger(__name__)

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
LONGEST_COMPILATION = 120
"""Seconds; a compiler usually takes up to 20, and one that hangs is ended after these."""
_HUNG = "hung.json"
"""In the cache: the compiler that was ended, which no other process then waits for ..."""
_UNTRIED = 24 * 3600
"""... for so many seconds."""
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


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
    except Exception as error:  # whatever is missing: a compiler, headers, a writable disk
        warn(next(iter(str(error).strip().splitlines()), type(error).__name__))
        return None


@functools.cache
def warn(reason: str) -> None:
    """Say once, for all libraries, why there is no native code."""
    _log.warning("no native code (%s): using slower pure-torch paths", reason)


def library_file(name: str, sources: Path) -> Path:
    """Return the path of a shared library, compiled now unless it is cached whole.

    The library appears under its final name in one step, so a process killed while it compiles
    leaves nothing that looks finished; the lock is the operating system's and dies with its owner.

    Raises:
        PermissionError: The cache belongs to somebody else, or others may write to it.
        RuntimeError: It cannot be compiled.
        TimeoutError: The compiler took too long, now or within a day.
    """
    finished = cache_folder() / "native" / fingerprint(sources) / f"{name}.so"
    if not _is_whole(finished):
        _make_private(finished.parent)
        with FileLock(finished.parent / "building", mode=0o600):
            if not _is_whole(finished):
                _compile_once(finished, sources)
    return finished


def _compile_once(finished: Path, sources: Path) -> None:
    """Compile unless the compiler has hung lately; note it if it does now.

    Raises:
        TimeoutError: It did, or does.
    """
    note = finished.parents[1] / _HUNG
    if _hung_lately(note):
        raise TimeoutError(f"{compiler()[0]} took too long before: to try again, delete {note}")
    try:
        _compile_to(finished, sources)
    except TimeoutError:
        _write_private(note, compiler())
        raise


def _hung_lately(note: Path) -> bool:
    """Return whether a note tells of this compiler and is not too old."""
    try:
        recent = 0 <= time.time() - note.lstat().st_mtime < _UNTRIED  # a clock may be set back
        return recent and load_json(read_text(note)) == compiler()
    except (OSError, ValueError):
        return False


def fingerprint(sources: Path) -> str:
    """Return a name for this combination of sources, flags, torch version and processor."""
    about = (torch.__version__, FLAGS, _OPTIONAL_FLAGS, processor())
    content = hashlib.sha256(repr(about).encode())
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


def _is_whole(library: Path) -> bool:
    """Return whether a library is there as it was compiled.

    Raises:
        PermissionError: It, or a folder of the cache that it is in, is not ours alone.
    """
    for folder in (library.parents[1], library.parent):
        if folder.exists():
            _close_to_others(folder)
    for path in (library.parents[1], library.parent, library, _note_of(library)):
        if path.exists():
            _check_ours(path)
    try:
        noted = load_json(read_text(_note_of(library)))["sha256"]
        return bool(noted == hashlib.sha256(library.read_bytes()).hexdigest())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _note_of(library: Path) -> Path:
    """The file beside a library that holds its digest."""
    return library.with_suffix(".json")


def _check_ours(path: Path) -> None:
    """Raise a PermissionError unless only this user (or root) may write to a file or folder."""
    state = path.lstat()
    if stat.S_ISLNK(state.st_mode) or state.st_uid not in (0, os.getuid()):
        raise PermissionError(f"{path} is not this user's own: delete it, or set GABORSEG_CACHE")
    if state.st_mode & _WRITABLE_BY_OTHERS:
        raise PermissionError(f"others may write to {path}: delete it, or set GABORSEG_CACHE")


def _close_to_others(folder: Path) -> None:
    """Take from others the right to write to a folder of ours, as earlier versions left it.

    What they may have put there is still refused: it is not ours, or not as it was compiled.
    """
    state = folder.lstat()
    if stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid():
        folder.chmod(stat.S_IMODE(state.st_mode) & ~_WRITABLE_BY_OTHERS)


def _make_private(folder: Path) -> None:
    """Make a folder of the cache, and the one around it, that only this user may enter."""
    for path in (folder.parent, folder):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)


def _compile_to(finished: Path, sources: Path) -> None:
    """Compile the sources to the given path; the caller holds the lock on its folder."""
    _log.info(
        "compiling the native %s, once: up to 20 seconds, ended after %d",
        finished.stem,
        LONGEST_COMPILATION,
    )
    start = time.perf_counter()
    workshop = finished.parent / "build"  # ours alone: what a killed process left there can go
    for optional in _OPTIONAL_FLAGS:
        shutil.rmtree(workshop, ignore_errors=True)
        workshop.mkdir(mode=0o700)
        try:
            built = build(finished.stem, sources, workshop, optional)
            break
        except RuntimeError:
            if optional == _OPTIONAL_FLAGS[-1]:
                raise
    _keep(built, finished)
    shutil.rmtree(workshop, ignore_errors=True)
    _log.info("compiled in %.0f seconds: %s", time.perf_counter() - start, finished)


def _keep(built: Path, finished: Path) -> None:
    """Move a library to its place, and note its digest beside it."""
    note = {"sha256": hashlib.sha256(built.read_bytes()).hexdigest(), "compiler": compiler()}
    with built.open("rb") as file:
        os.fsync(file.fileno())
    built.chmod(0o600)
    built.replace(finished)
    _write_private(_note_of(finished), note)


def _write_private(path: Path, content: object) -> None:
    """Write JSON that only this user may read."""
    with write_atomically(path) as file:
        os.fchmod(file.fileno(), 0o600)
        json.dump(content, file)


def compiler() -> list[str]:
    """Return the words that start the C++ compiler: ``$CXX``, else ``c++``."""
    return shlex.split(os.environ.get("CXX") or "c++")


def build(name: str, sources: Path, workshop: Path, optional: tuple[str, ...]) -> Path:
    """Compile every *.cpp of the sources into one shared library in the workshop.

    Raises:
        RuntimeError: The compiler fails; the message is its first error.
        TimeoutError: It took too long.
    """
    from torch.utils.cpp_extension import include_paths, library_paths  # slow to import

    built = workshop / f"gaborseg_{name}.so"
    folders = library_paths()
    command = [
        *compiler(),
        *(*FLAGS, *optional, "-fPIC", "-shared"),
        f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}",
        *(f"-isystem{folder}" for folder in include_paths()),
        *map(str, sorted(sources.glob("*.cpp"))),
        *(f"-L{folder}" for folder in folders),
        *(f"-Wl,-rpath,{folder}" for folder in folders),
        *("-lc10", "-ltorch_cpu", "-o", str(built)),
    ]
    _run(command)
    return built


def _run(command: list[str]) -> None:
    """Run a compiler, and end it with all that it has started if it takes too long."""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=LONGEST_COMPILATION)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise TimeoutError(
                    f"{command[0]} was ended after {LONGEST_COMPILATION} seconds"
                ) from error
            raise
    if process.returncode:
        lines = [line for line in output.splitlines() if "error" in line] or output.splitlines()
        raise RuntimeError(f"{command[0]} failed: {' '.join(lines[:1])}")
