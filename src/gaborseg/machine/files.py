"""Files and folders that are written whole or not at all, and the folder of the cache.

What is half written is called ``.partial-...`` and lies beside its final place. It is flushed to
the disk before it is renamed, so that not even a power failure leaves half a file. A process that
is killed leaves its half-written files; whoever works on the folder next removes them with
``remove_partials``.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

PARTIAL = ".partial-"
"""How the names of half-written files and folders begin."""


def cache_folder(folder: str | Path | None = None) -> Path:
    """The given folder, else ``$GABORSEG_CACHE``, else ``~/.cache/gaborseg``."""
    chosen = folder or os.environ.get("GABORSEG_CACHE") or Path("~/.cache/gaborseg")
    return Path(chosen).expanduser().absolute()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to, whose file takes the place of ``path`` when the block succeeds.

    Its name ends as that of ``path`` does; the folder is made if need be.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{PARTIAL}{os.getpid()}-{path.name}")
    try:
        yield partial
        _flush(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def write_atomically(path: Path, mode: Literal["w", "wb"] = "w") -> Iterator[IO[Any]]:
    """An open file, of UTF-8 text or bytes, that takes the place of ``path`` likewise."""
    encoding, newline = ("utf-8", "") if mode == "w" else (None, None)
    with (
        whole_file(path) as partial,
        partial.open(mode, encoding=encoding, newline=newline) as file,
    ):
        yield file


def write_text(path: Path, text: str) -> None:
    """Write a whole text file at once."""
    with write_atomically(path) as file:
        file.write(text)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to fill that takes the place of ``path`` when the block succeeds.

    If ``path`` exists by then, it stays: whoever wrote it wrote the same.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=path.parent))
    try:
        yield partial
        for file in partial.rglob("*"):
            _flush(file)
        partial.chmod(0o755)
        try:
            partial.replace(path)
        except OSError:
            if not path.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def remove_partials(folder: Path) -> None:
    """Remove what killed writers have left in a folder; nobody may be writing to it now."""
    for leftover in folder.glob(f"{PARTIAL}*"):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


def _flush(path: Path) -> None:
    """Wait until a file, or the list of a folder's files, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
