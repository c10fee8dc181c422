"""Files and folders that are written whole or not at all, and the folder of the cache.

What is half written is called ``.partial-...`` and lies beside its final place. It is flushed to
the disk before it is renamed, so that not even a power failure leaves half a file. A process that
is killed leaves its half-written files; whoever works on the folder next removes them with
``remove_partials``.

A folder may be a stranger's, with links in it that lead to anybody's files. A link in the place of
a whole file gives way to the file; nothing is ever written through one.
"""

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

PARTIAL = ".partial-"
"""How the names of half-written files and folders begin."""
_LONGEST_ENDING = 48
"""Characters of a file's name that its half-written one keeps: names have at most 255 bytes."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def cache_folder(folder: str | Path | None = None) -> Path:
    """The given folder, else ``$GABORSEG_CACHE``, else ``~/.cache/gaborseg``."""
    chosen = folder or os.environ.get("GABORSEG_CACHE") or Path("~/.cache/gaborseg")
    return Path(chosen).expanduser().absolute()


@contextmanager
def whole_file(path: Path, *, replace: bool = True) -> Iterator[Path]:
    """A path to write to, whose file takes the place of ``path`` when the block succeeds.

    Its name ends as that of ``path`` does; the folder is made if need be.

    Args:
        path: Where the file is to be.
        replace: Whether it may take the place of another; else that one stays, also if it was
            written meanwhile.

    Raises:
        FileExistsError: There is another that is not to be replaced.
    """
    partial = path.with_name(f"{PARTIAL}{os.getpid()}-{path.name[-_LONGEST_ENDING:]}")
    try:
        with _naming(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.unlink(missing_ok=True)  # it may be a link
            os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            yield partial
            _flush(partial)
            if replace:
                partial.replace(path)
            else:
                _name_once(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _name_once(partial: Path, path: Path) -> None:
    """Give a file its name unless another has it; where there are no hard links, as far as known.

    Raises:
        FileExistsError: Another has it.
    """
    try:
        os.link(partial, path)
    except FileExistsError as error:
        raise FileExistsError(f"{path} has been written by somebody else meanwhile") from error
    except OSError:
        if os.path.lexists(path):
            raise FileExistsError(f"{path} has been written by somebody else meanwhile") from None
        partial.replace(path)


@contextmanager
def write_atomically(path: Path, mode: Literal["w", "wb"] = "w") -> Iterator[IO[Any]]:
    """An open file, of UTF-8 text or bytes, that takes the place of ``path`` likewise.

    Of text, bytes of a file's name that are no UTF-8 are spelt out: no name keeps a file from being
    written.
    """
    with whole_file(path) as partial, _open(partial, mode) as file:
        yield file


def _open(path: Path, mode: Literal["w", "wb"]) -> IO[Any]:
    if mode == "wb":
        return path.open(mode)
    return path.open(mode, encoding="utf-8", errors="backslashreplace", newline="")


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
        with _naming(path):
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
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


def open_unlinked(path: Path, flags: int) -> int:
    """Return the descriptor of a regular file, made if need be, but never the one of a link's end.

    Args:
        path: The file.
        flags: For ``os.open``: how it is read and written.

    Raises:
        OSError: It is a link, or no regular file, or cannot be opened.
    """
    more = os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags | more, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            refuse_link(path)
        raise
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise FileExistsError(f"{path} must be a regular file: remove it")


def refuse_link(path: Path) -> None:
    """Check that a file or folder that is written to, if it is there, is no link.

    Raises:
        FileExistsError: It is one.
    """
    if path.is_symlink():
        raise FileExistsError(f"{path} is a link, and nothing is written through it: remove it")


def refuse_links_to(folder: Path, name: str) -> None:
    """Check that no folder on the way from a folder to a file in it is a link.

    Raises:
        FileExistsError: One is.
    """
    for parent in Path(name).parents[:-1]:
        refuse_link(folder / parent)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the file in the error of a full disk: the system, torch and numpy name none."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        cause = error if isinstance(error, OSError) else error.__context__  # torch's, of a write
        if isinstance(cause, OSError) and cause.filename is None:
            if cause.errno in _NO_ROOM:
                cause.filename = str(path)
            elif "requested and" in str(cause):  # numpy's, of fewer values written than asked
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise


def _flush(path: Path) -> None:
    """Wait until a file, or the list of a folder's files, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
