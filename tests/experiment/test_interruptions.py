import subprocess
import sys
import threading
import time

import pytest
from lightning_fabric.strategies.launchers import subprocess_script

from gaborseg.experiment import interruptions


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The processes that Lightning's watch has killed."""
    pids: list[int] = []
    monkeypatch.setattr(subprocess_script.os, "kill", lambda pid, _: pids.append(pid))
    return pids


def ended() -> subprocess.Popen:
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    process.wait()
    return process


def watch(processes: list[subprocess.Popen]) -> threading.Thread:
    """Lightning's watch of processes, at the moment at which it finds one that has failed."""
    observer = subprocess_script._ChildProcessObserver(4711, processes)
    thread = threading.Thread(target=observer._run)
    thread.start()
    return thread


def test_the_watch_lets_the_first_process_end_by_itself(killed: list[int]) -> None:
    with interruptions._patient_watch():
        processes = [ended()]
        thread = watch(processes)
        time.sleep(0.3)
        assert killed == []
        interruptions._end_all(processes)
        thread.join(10)
    assert not thread.is_alive()
    assert killed == []


def test_the_watch_kills_a_first_process_that_hangs(
    killed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interruptions, "_PATIENCE", 0.2)
    with interruptions._patient_watch():
        watch([ended()]).join(10)
    assert killed == [4711]


def test_outside_a_run_the_watch_is_lightnings(killed: list[int]) -> None:
    with interruptions._patient_watch():
        pass
    watch([ended()]).join(10)
    assert killed == [4711]


def test_an_end_is_waited_for_and_told() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.3); exit(3)"])
    assert interruptions._ends_of([process]) == {3}


def test_without_other_processes_nothing_is_waited_for() -> None:
    start = time.monotonic()
    assert interruptions._ends_of([]) == set()
    assert time.monotonic() - start < 1
