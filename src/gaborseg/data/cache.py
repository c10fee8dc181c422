"""Prepared volumes on disk: arrays that are written whole or not at all, and memory-mapped.

A case is read, checked and z-scored once. What comes out is kept under a key made of the files'
identity (path, size, time of change) and of the way they are prepared, so a changed file is
prepared anew and an unchanged one is never opened again.
"""

import errno
import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from gaborseg.data.cases import Case
from gaborseg.machine import whole_folder
from gaborseg.scans import DataError

log = logging.getLogger(__name__)

_PREPARATION = 2
"""Version of the preparation: raise it when the prepared arrays or the checks change."""


@contextmanager
def locked(folder: Path, name: str) -> Iterator[None]:
    """Hold the lock called ``name`` while something is written into ``folder``.

    The folder is made if need be; a lock that another process holds is waited for.

    Raises:
        DataError: The folder cannot be written to, now or inside the block.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("waiting for another process that is preparing %s", name)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()
    except OSError as error:
        reason = str(error).strip().splitlines()[-1]
        raise DataError(f"{folder} cannot be written to: {reason}") from error


@dataclass(frozen=True)
class PreparedCase:
    """The cached arrays of a case; opening one maps it into memory.

    image (C, *S) float32, each channel of mean 0 and standard deviation 1 over all voxels;
    label (*S) uint8; affine (4, 4) float64, voxel index to world millimetres (RAS+).
    """

    folder: Path

    @property
    def exists(self) -> bool:
        """Whether the case has been prepared: its files passed every check, and all are whole."""
        try:
            return all(self.read(name).size for name in ("image", "label", "affine"))
        except (OSError, ValueError, EOFError):
            return False

    def discard_damaged(self) -> None:
        """Make room for the arrays of a case of which some were cut, emptied or lost."""
        if self.folder.exists() and not self.exists:
            log.warning("%s is damaged: the case is prepared again", self.folder)
            shutil.rmtree(self.folder)

    def read(self, name: str) -> NDArray:
        """Map one of ``image``, ``label`` and ``affine``, read-only.

        Raises:
            FileNotFoundError: It is not there, as when somebody has emptied the cache.
        """
        try:
            return np.load(self.folder / f"{name}.npy", mmap_mode="r")
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{error.filename} has gone from the cache") from error

    def write(self, **arrays: NDArray) -> None:
        """Store all arrays of the case at once.

        Raises:
            OSError: There is no room for them.
        """
        with whole_folder(self.folder) as folder:
            for name, array in arrays.items():
                _save(folder / f"{name}.npy", array)


def _save(path: Path, array: NDArray) -> None:
    """Write an array; of a small one, numpy does not notice that the disk is full.

    Raises:
        OSError: There is no room for it.
    """
    np.save(path, array)
    try:
        np.load(path, mmap_mode="r")
    except (ValueError, EOFError) as error:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error


def prepared_case(
    cache: Path, case: Case, num_structures: int, ignore: int | None = None
) -> PreparedCase:
    """Where the prepared arrays of a case are kept, whether or not they exist yet."""
    states = [(path, path.stat()) for path in case.files]
    identity = [(str(path), state.st_size, state.st_mtime_ns) for path, state in states]
    labels = num_structures if ignore is None else (num_structures, ignore)
    key = repr((_PREPARATION, labels, identity)).encode()
    return PreparedCase(cache / "prepared" / hashlib.blake2b(key, digest_size=16).hexdigest())


def zscore(image: NDArray) -> NDArray[np.float32]:
    """Shift and scale to mean 0 and standard deviation 1 over all voxels, background included.

    All voxels, not the foreground only: it needs no mask, so it treats skull-stripped and whole
    heads alike, and the background stays the minimum that augmentation pads with.
    """
    wide = image.astype(np.float64)
    return ((wide - wide.mean()) / wide.std()).astype(np.float32)
