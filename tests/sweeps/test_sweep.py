"""Sweeps of cells that are no trainings, but short scripts that leave a run's files."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from gaborseg.runs import Stage, read_state
from gaborseg.sweeps import Cell
from gaborseg.sweeps.machine import Machine
from gaborseg.sweeps.sweep import SIGNALS, Display, Entry, Sweep, interruptible

SCRIPT = """
import json, os, signal, sys, time
from pathlib import Path
here = Path({folder!r})
def done():
    (here / "config.yaml").write_text("trainer: {{max_epochs: 1}}")
    (here / "subjects.csv").write_text("subject\\na\\n")
    (here / "done.json").write_text(json.dumps({{"test_dice": 0.5}}))
def first_time():
    seen = (here / "seen").exists()
    (here / "seen").touch()
    return not seen
def kill():
    os.kill(os.getpid(), signal.SIGKILL)
print("begins", flush=True)
{body}
"""


class Record(Display):
    """What was shown."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.lines: list[str] = []
        self.most = 0

    def event(self, entry: Entry, what: str, lines: Sequence[str] = ()) -> None:
        self.events.append((entry.cell.name, what))
        self.lines += lines

    def update(self, entries: Sequence[Entry]) -> None:
        self.most = max(self.most, sum(entry.stage == Stage.RUNNING for entry in entries))


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Cell]:
    def make_cell(name: str, body: str = "done()", **options: object) -> Cell:
        folder = tmp_path / name
        code = SCRIPT.format(folder=str(folder), body=body)
        return Cell(name, folder, (sys.executable, "-SE", "-c", code), **options)  # type: ignore[arg-type]

    return make_cell


def sweep(cells: Sequence[Cell], jobs: int = 2, gpus: str = "") -> tuple[Sweep, Record]:
    record = Record()
    return Sweep(cells, Machine(tuple(gpus), 2, jobs, dict(os.environ)), record), record


def stages(entries: Sequence[Entry]) -> list[str]:
    return [entry.stage.value for entry in entries]


def test_every_cell_is_done_and_shown(make: Callable[..., Cell]) -> None:
    one, record = sweep([make(name) for name in "abc"])
    assert stages(one.run()) == ["done"] * 3
    assert [name for name, what in record.events if what == "starts"] == ["a", "b", "c"]
    assert all(entry.state.dice == 0.5 for entry in one.entries)


def test_what_is_done_is_not_started_again(make: Callable[..., Cell]) -> None:
    sweep([make("a")])[0].run()
    again, record = sweep([make("a", "raise SystemExit('never')", remark="torch: 1 -> 2")])
    assert stages(again.run()) == ["done"]
    assert record.events == [("a", "is done already")]
    assert record.lines == ["with other code: torch: 1 -> 2"]


def test_a_cell_that_has_its_epochs_is_paused_and_not_started_again(
    make: Callable[..., Cell],
) -> None:
    epochs = '(here / "config.yaml").touch(); (here / "metrics.csv").write_text("epoch\\n0\\n1\\n")'
    one, record = sweep([make("a", epochs, until=2), make("b", epochs, until=3)])
    assert stages(one.run()) == ["paused", "failed"]
    assert ("a", "paused after epoch 2 in 0 s") in record.events
    again, record = sweep([make("a", "raise SystemExit('never')", until=2)])
    assert stages(again.run()) == ["paused"]
    assert record.events == [("a", "has 2 epochs already")]


def test_other_code_is_said_where_half_of_a_cell_is_done(make: Callable[..., Cell]) -> None:
    begun, new = (make(name, remark="torch: 1 -> 2") for name in "ab")
    begun.folder.mkdir()
    (begun.folder / "metrics.csv").write_text("epoch\n0\n")
    one, record = sweep([begun, new])
    one.run()
    assert record.events[:2] == [("a", "goes on after epoch 1"), ("b", "starts")]
    assert record.lines == ["with other code: torch: 1 -> 2"]


def test_a_display_that_cannot_write_stops_nothing(make: Callable[..., Cell]) -> None:
    class Full(Record):
        def event(self, entry: Entry, what: str, lines: Sequence[str] = ()) -> None:
            raise OSError("No space left on device")

        def update(self, entries: Sequence[Entry]) -> None:
            raise OSError("No space left on device")

    cells = [make("a"), make("b", "kill() if first_time() else done()")]
    one = Sweep(cells, Machine((), 2, 1, dict(os.environ)), Full())
    assert stages(one.run()) == ["done", "done"]


def test_a_cell_that_was_asked_to_end_is_started_once_more(make: Callable[..., Cell]) -> None:
    one, record = sweep([make("a", "sys.exit(143) if first_time() else done()")])
    assert stages(one.run()) == ["done"]
    assert ("a", "was killed by SIGTERM: it is started once more") in record.events


def test_a_cell_that_fails_does_not_stop_the_others(make: Callable[..., Cell]) -> None:
    one, record = sweep([make("a", "sys.exit('no such loss')"), make("b")], jobs=1)
    assert stages(one.run()) == ["failed", "done"]
    assert record.lines == ["begins", "no such loss"]
    assert one.entries[0].attempts == 1
    assert read_state(one.entries[0].cell.folder).message == "no such loss"


def test_a_log_that_is_a_link_fails_its_cell_alone(
    make: Callable[..., Cell], tmp_path: Path
) -> None:
    cells = [make("a"), make("b")]
    (tmp_path / "thesis.txt").write_text("mine\n")
    cells[0].folder.mkdir()
    (cells[0].folder / "train.log").symlink_to(tmp_path / "thesis.txt")
    one, _ = sweep(cells)
    assert stages(one.run()) == ["failed", "done"]
    assert "train.log is a link" in one.entries[0].state.message
    assert (tmp_path / "thesis.txt").read_text() == "mine\n"


def test_a_failed_cell_is_tried_again_by_the_next_sweep(make: Callable[..., Cell]) -> None:
    sweep([make("a", "sys.exit('no such loss')")])[0].run()
    assert stages(sweep([make("a")])[0].run()) == ["done"]


def test_a_killed_cell_is_started_once_more(make: Callable[..., Cell]) -> None:
    one, record = sweep([make("a", "kill() if first_time() else done()")])
    assert stages(one.run()) == ["done"]
    assert ("a", "was killed by SIGKILL: it is started once more") in record.events


def test_a_cell_that_is_killed_twice_has_failed(make: Callable[..., Cell]) -> None:
    one, _ = sweep([make("a", "kill()"), make("b")])
    assert stages(one.run()) == ["failed", "done"]
    assert one.entries[0].attempts == 2
    assert one.entries[0].state.message == "killed by SIGKILL, perhaps for want of memory"


def test_an_error_of_one_process_that_brings_the_others_down_is_no_kill(
    make: Callable[..., Cell],
) -> None:
    body = """(here / "failed.json").write_text('{"error": "rank 1: no memory"}'); kill()"""
    one, _ = sweep([make("a", body)])
    assert stages(one.run()) == ["failed"]
    assert (one.entries[0].attempts, one.entries[0].state.message) == (1, "rank 1: no memory")


def test_a_cell_that_may_not_be_started_is_left_alone(make: Callable[..., Cell]) -> None:
    one, record = sweep([make("a", refusal="other settings"), make("b")])
    assert stages(one.run()) == ["failed", "done"]
    assert not one.entries[0].cell.folder.exists()
    assert ("a", "refused") in record.events


def test_a_folder_that_cannot_be_written_to_fails_its_cell(make: Callable[..., Cell]) -> None:
    cell = make("a")
    cell.folder.write_text("a file")
    one, _ = sweep([cell, make("b")])
    assert stages(one.run()) == ["failed", "done"]


def test_a_gpu_is_used_by_one_cell_at_a_time(make: Callable[..., Cell], tmp_path: Path) -> None:
    body = "gpu = os.environ['CUDA_VISIBLE_DEVICES']; "
    body += "os.mkdir(here.parent / gpu); time.sleep(.2); os.rmdir(here.parent / gpu); done()"
    one, _ = sweep([make(name, body, gpus=1) for name in "abcd"], jobs=4, gpus="01")
    assert stages(one.run()) == ["done"] * 4


def test_a_cell_waits_for_as_many_gpus_as_it_needs(make: Callable[..., Cell]) -> None:
    show = "print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); time.sleep(.1); done()"
    cells = [make("a", show, gpus=1), make("b", show, gpus=2), make("c", show, gpus=1)]
    one, record = sweep(cells, jobs=3, gpus="01")
    one.run()
    assert [what for _, what in record.events if what.startswith("done")][:1]
    seen = [(cell.folder / "train.log").read_text().split()[-1] for cell in cells]
    assert sorted(seen[1].split(",")) == ["0", "1"]
    assert {len(seen[0]), len(seen[2])} == {1}


def test_what_a_cell_leaves_running_ends_with_it(make: Callable[..., Cell]) -> None:
    body = "child = os.fork()\nif child == 0: time.sleep(60)\nprint(child, flush=True); done()"
    one, _ = sweep([make("a", body)])
    one.run()
    child = int((one.entries[0].cell.folder / "train.log").read_text().split()[-1])
    words = ["ps", "-o", "stat=", "-p", str(child)]
    for _ in range(100):
        stat = subprocess.run(words, capture_output=True, text=True, check=False).stdout
        if not stat or stat.startswith("Z"):
            return
        time.sleep(0.1)
    pytest.fail("it still runs")


@pytest.fixture
def signals_as_usual() -> Iterator[None]:
    """What a terminal gives; a shell's ``&`` and ``nohup`` ignore some of them."""
    usual = dict.fromkeys(SIGNALS, signal.SIG_DFL) | {signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send_once(ready: Callable[[], bool], *numbers: signal.Signals) -> None:
    """Send signals to this process, half a second apart, as soon as all is ready."""

    def send() -> None:
        while not ready():
            time.sleep(0.05)
        for number in numbers:
            os.kill(os.getpid(), number)
            time.sleep(0.5)

    threading.Thread(target=send, daemon=True).start()


@pytest.mark.usefixtures("signals_as_usual")
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_cells_and_then_the_sweep(
    make: Callable[..., Cell], number: signal.Signals
) -> None:
    body = "try: (here / 'config.yaml').write_text('trainer: {max_epochs: 9}'); time.sleep(60)\n"
    body += "except KeyboardInterrupt: (here / 'last.ckpt').touch(); raise"
    one, record = sweep([make("a", body), make("b", body), make("c")])
    started = [entry.cell.folder / "config.yaml" for entry in one.entries[:2]]
    send_once(lambda: all(path.exists() for path in started), number)
    with interruptible(), pytest.raises(KeyboardInterrupt):
        one.run()
    assert stages(one.entries) == ["stopped", "stopped", "waiting"]
    assert all((entry.cell.folder / "last.ckpt").exists() for entry in one.entries[:2])
    assert record.events[-2:] == [("a", "is interrupted"), ("b", "is interrupted")]


@pytest.mark.usefixtures("signals_as_usual")
def test_a_cell_that_was_stopped_can_end_on_its_own(make: Callable[..., Cell]) -> None:
    body = "try: print('stops', flush=True); os.kill(os.getpid(), signal.SIGSTOP)\n"
    body += "except KeyboardInterrupt: (here / 'last.ckpt').touch(); raise"
    one, _ = sweep([make("a", body)])
    folder = one.entries[0].cell.folder
    log = folder / "train.log"
    send_once(lambda: log.exists() and "stops" in log.read_text(), signal.SIGINT)
    with interruptible(), pytest.raises(KeyboardInterrupt):
        one.run()
    assert (folder / "last.ckpt").exists()


def test_a_done_cell_is_freed_of_what_its_killed_process_left(make: Callable[..., Cell]) -> None:
    body = "done(); [(here / n).touch() for n in ('.lock', '.partial-1-done.json')]; kill()"
    one, _ = sweep([make("a", body)])
    assert stages(one.run()) == ["done"]
    left = {path.name for path in one.entries[0].cell.folder.iterdir()}
    assert left == {"config.yaml", "subjects.csv", "done.json", "train.log"}
    (one.entries[0].cell.folder / ".lock").touch()
    sweep([make("a")])[0].run()
    assert not (one.entries[0].cell.folder / ".lock").exists()


@pytest.mark.usefixtures("signals_as_usual")
def test_a_second_signal_does_not_wait(make: Callable[..., Cell]) -> None:
    body = "signal.signal(signal.SIGINT, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    one, _ = sweep([make("a", body)])
    log = one.entries[0].cell.folder / "train.log"
    send_once(lambda: log.exists() and "deaf" in log.read_text(), signal.SIGINT, signal.SIGINT)
    started = time.monotonic()
    with interruptible(), pytest.raises(KeyboardInterrupt):
        one.run()
    assert time.monotonic() - started < 30


def test_an_ignored_signal_stays_ignored_but_not_for_the_cells(make: Callable[..., Cell]) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        body = "print(signal.getsignal(signal.SIGINT) is signal.default_int_handler); done()"
        one, _ = sweep([make("a", body)])
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        with interruptible():
            one.run()
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert (one.entries[0].cell.folder / "train.log").read_text().split()[-1] == "True"
