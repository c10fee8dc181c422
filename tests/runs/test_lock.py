import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from config import PROJECT
from gaborseg.runs import locked
from gaborseg.runs.lock import is_locked
from holding import held_by_another


def test_a_folder_is_free_held_and_free_again(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "run"
    with locked(folder):
        assert (folder / ".lock").exists()
    assert not is_locked(folder)
    assert not folder.exists()  # nothing was put into it


def test_the_second_process_is_told_who_the_first_is(tmp_path: Path) -> None:
    with held_by_another(tmp_path) as process:
        assert is_locked(tmp_path)
        with pytest.raises(BlockingIOError, match=f"in use by process {process.pid} on"):
            locked(tmp_path).__enter__()
        assert is_locked(tmp_path)


def test_a_killed_owner_holds_nothing(tmp_path: Path) -> None:
    with held_by_another(tmp_path) as process:
        process.kill()
        process.wait()
        assert (tmp_path / ".lock").exists()
        assert not is_locked(tmp_path)
        with locked(tmp_path):
            pass


def test_an_owners_forked_child_does_not_hold_on(tmp_path: Path) -> None:
    read, write = os.pipe()
    with locked(tmp_path):
        child = os.fork()
        if child == 0:  # like a worker of a data loader, it outlives the block
            os.read(read, 1)
            os._exit(0)
    code = f"import sys; sys.path.insert(0, {str(PROJECT)!r})\nfrom pathlib import Path\n"
    code += f"from gaborseg.runs import locked\nlocked(Path({str(tmp_path)!r})).__enter__()"
    try:
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    finally:
        os.write(write, b"x")
        os.waitpid(child, 0)


def test_a_folder_that_is_not_there_is_not_locked(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / "none")


def test_the_file_that_a_link_leads_to_is_neither_locked_nor_emptied(tmp_path: Path) -> None:
    thesis = tmp_path / "thesis.txt"
    thesis.write_text("mine\n")
    (tmp_path / ".lock").symlink_to(thesis)
    with pytest.raises(FileExistsError, match=r"\.lock is a link, .* remove it"):
        locked(tmp_path).__enter__()
    assert thesis.read_text() == "mine\n"
    assert not is_locked(tmp_path)


def test_somebodys_file_of_that_name_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("of another program\n")
    with pytest.raises(FileExistsError, match=r"must be a lock, and is a file of yours"):
        locked(tmp_path).__enter__()
    assert (tmp_path / ".lock").read_text() == "of another program\n"


def test_a_pipe_in_the_place_of_the_lock_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".lock")
    assert not is_locked(tmp_path)
    with pytest.raises(FileExistsError, match="must be a regular file"):
        locked(tmp_path).__enter__()


def test_a_file_system_without_locks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lockf(*args: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.lockf", lockf)
    with pytest.raises(OSError, match=r"cannot be locked \(No locks available\), so that two"):
        locked(tmp_path).__enter__()
    assert not is_locked(tmp_path)


def test_a_folder_is_waited_for_as_long_as_asked(tmp_path: Path) -> None:
    with held_by_another(tmp_path) as process:
        threading.Timer(1.0, process.kill).start()
        with locked(tmp_path, patience=60):
            assert process.wait() == -signal.SIGKILL
