"""Files and folders that are written whole or not at all, and the folder of the cache."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal


@contextlib.contextmanager
def write_atomically(path: Path, mode: Literal["w", "wb"] = "w") -> Iterator[IO[Any]]:
    """Yield a file of text or bytes that takes the place of ``path`` once it is whole, on disk."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open(mode, newline="" if mode == "w" else None) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def cache_folder(folder: str | Path | None = None) -> Path:
    """The given folder, else ``$GABORSEG_CACHE``, else ``~/.cache/gaborseg``."""
    chosen = folder or os.environ.get("GABORSEG_CACHE") or Path("~/.cache/gaborseg")
    return Path(chosen).expanduser().absolute()


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A folder to fill that takes the place of ``target`` at once, when the block succeeds.

    If ``target`` exists by then, it stays: whoever wrote it wrote the same.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=target.parent))
    try:
        yield partial
        partial.chmod(0o755)
        try:
            partial.replace(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_whole(target: Path, text: str) -> None:
    """Write a text file that is never seen half-written."""
    partial = target.with_name(f".partial-{os.getpid()}-{target.name}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(target)


def remove_partials(folder: Path) -> None:
    """Remove what writers that were killed have left; nobody may be writing now."""
    for leftover in folder.glob(".partial-*"):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to; what it holds takes the place of ``path`` on success."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
