import errno
import io
import logging
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from gaborseg.data import map_in_processes
from gaborseg.interface import Obstacle, UserError, mistakes_as_user_errors, obstacle
from gaborseg.interface.screen import never_fail_to_print
from gaborseg.machine import cache_folder, whole_file, whole_folder, write_text
from gaborseg.scans import DataError
from gaborseg.training import AtomicCheckpointIO


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may become larger than 4 kB, as on a disk that is nearly full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def told(error: BaseException) -> str:
    found = obstacle(error)
    assert found is not None
    return str(found)


@pytest.mark.usefixtures("small_files")
def test_a_checkpoint_that_does_not_fit_names_its_file_and_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    with pytest.raises((OSError, RuntimeError)) as error:
        AtomicCheckpointIO({}).save_checkpoint({"state_dict": {"w": torch.zeros(10_000)}}, path)
    assert told(error.value) == (
        f"{path}: File too large: raise the limit of a file's size (ulimit -f), then start the "
        "same command again"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small_files")
def test_an_array_that_does_not_fit_names_its_folder(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left") as error, whole_folder(tmp_path / "x") as x:
        np.save(x / "image.npy", np.zeros(10_000))
    assert told(error.value).startswith(f"{tmp_path / 'x'}: No space left on device: make room")


@pytest.mark.usefixtures("small_files")
def test_a_text_that_does_not_fit_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    write_text(path, "old")
    with pytest.raises(OSError, match="File too large") as error:
        write_text(path, "new" * 10_000)
    assert error.value.filename == str(path)
    assert path.read_text() == "old"


def test_an_error_that_names_a_file_keeps_it(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="elsewhere") as error, whole_file(tmp_path / "x"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "elsewhere")
    assert error.value.filename == "elsewhere"


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n 4096"),
        (RuntimeError("Too many open files. Communication with the workers"), "ulimit -n 4096"),
        (RuntimeError("unable to open </torch_1>: Too many open files (24)"), "ulimit -n 4096"),
        (RuntimeError("unable to write to file </torch_1_2_0>: No space"), "data.num_workers=0"),
        (RuntimeError("worker is killed by signal: Bus error. out of shared memory"), "shm-size"),
        (RuntimeError("listen on port 29500 failed, code: -98, name: EADDRINUSE"), "MASTER_PORT"),
        (OSError(errno.EADDRINUSE, "Address already in use"), "MASTER_PORT"),
        (FileNotFoundError(2, "No usable temporary directory found in ['/x']"), "set TMPDIR=DIR"),
        (RuntimeError("Could not determine home directory."), "set GABORSEG_CACHE=DIR"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "too little memory"),
        (MemoryError(), "too little memory"),
        (RuntimeError("can't start new thread"), "ulimit -u"),
    ],
)
def test_what_the_machine_lacks_is_one_line_with_the_remedy(error: Exception, remedy: str) -> None:
    assert remedy in told(error)
    assert "\n" not in told(error)


def test_too_few_open_files_are_told_before_processes_wait_for_ever() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (63, before[1]))
    try:
        with pytest.raises(OSError, match="Too many open files") as error:
            map_in_processes(write_to_a_full_disk, ["x"], title="Writing", processes=1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert "ulimit -n 4096" in told(error.value)


def write_to_a_full_disk(name: str) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)


@pytest.mark.parametrize("name", ["/data/sub-01", "/Ann's/a: b", None])
def test_a_full_disk_in_a_process_of_its_own_is_told_likewise(name: str | None) -> None:
    with pytest.raises(OSError, match="No space left") as error:
        map_in_processes(write_to_a_full_disk, [name], title="Writing", processes=1)
    place = f"{name}: " if name else ""
    assert told(error.value).startswith(f"{place}No space left on device: make room, then")


@pytest.mark.parametrize("error", [ValueError("out of memory"), KeyError("x"), OSError("?")])
def test_other_errors_are_no_obstacles(error: Exception) -> None:
    assert obstacle(error) is None


def test_a_damaged_file_is_no_obstacle_though_it_took_all_memory() -> None:
    error = DataError("a.nii.gz is not a readable image")
    error.__cause__ = MemoryError()
    assert obstacle(error) is None


def test_an_obstacle_is_no_mistake_of_the_user() -> None:
    with pytest.raises(Obstacle, match="make room"), mistakes_as_user_errors():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x")
    with pytest.raises(UserError, match="size must be 8"), mistakes_as_user_errors():
        raise ValueError("size must be 8")


def test_without_a_home_the_cache_has_to_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GABORSEG_CACHE", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as without HOME and passwd
    with pytest.raises(RuntimeError) as error:
        cache_folder()
    assert "set GABORSEG_CACHE=DIR" in told(error.value)


def test_no_character_ends_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    monkeypatch.setattr(logging, "raiseExceptions", True)  # to be as before afterwards
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, encoding="ascii"))
    never_fail_to_print()
    print("━ Müller \udcff", flush=True)
    assert content.getvalue() == b"? M?ller ?\n"
