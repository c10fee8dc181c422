"""Does a sweep survive whatever hits its processes?

    python tests/reliability/kill_storm.py FOLDER                 twelve runs, 24 blows
    python tests/reliability/kill_storm.py FOLDER --blows 64 --seed 1
    python tests/reliability/kill_storm.py FOLDER --tiny          two runs of a tiny network

The same sweep runs twice: undisturbed, and hit at random moments by blows that take turns: the
launcher, a run, a worker or everything is killed (SIGKILL); the launcher or a run is asked to end
(SIGTERM, SIGINT, SIGHUP); a run is halted (SIGSTOP) for a while, or while its launcher is killed.
A blow that ends the launcher must leave no process and no half-written file; the same command
then goes on. What was done once must never be done again, and in the end every number must be the
same, bit by bit.
"""

import argparse
import contextlib
import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import support_path  # noqa: F401

from tiny_cohort import write_cohort
from tiny_run import tiny_overrides

PROJECT = Path(__file__).parents[2]
SMOKE = ["+sweeps=smoke", "hydra.launcher.n_jobs=2", "data.num_workers=1"]
TIMES = ("seconds", "cost/")  # what of metrics.csv is time, not result
PATIENCE = 60.0  # seconds in which what was asked to end has to be gone
KILLED_PATIENCE = 15.0  # and what lost its launcher
Blow = Callable[[subprocess.Popen, Path], bool]


def main() -> None:
    """Run both sweeps and compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Plain)
    parser.add_argument("folder", type=Path, help="where the two sweeps go; must not exist")
    parser.add_argument("--blows", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args()
    folder = arguments.folder.absolute()
    folder.mkdir(parents=True)
    survive(
        folder, tiny_sweep(folder) if arguments.tiny else SMOKE, arguments.blows, arguments.seed
    )


class Plain(argparse.RawDescriptionHelpFormatter):
    """Help as it is written above."""


def tiny_sweep(folder: Path) -> list[str]:
    """Return the choices for two runs of seconds."""
    cohort = write_cohort(folder / "data" / "cohort")
    workers = "data.num_workers=1"
    words = [
        workers if word.startswith("data.num_workers") else word for word in tiny_overrides(cohort)
    ]
    return ["-m", *words, "seed=0,1", "hydra.launcher.n_jobs=2"]


def survive(folder: Path, overrides: Sequence[str], blows: int, seed: int = 0) -> None:
    """Run a sweep undisturbed and disturbed; an ``AssertionError`` says what that changed."""
    whole = folder / "whole"
    started = time.monotonic()
    assert start(whole, overrides).wait() == 0
    seconds = time.monotonic() - started
    print(f"undisturbed: {seconds:.0f} s", flush=True)
    storm = Storm(whole, overrides, seconds / len(list(whole.glob("*/done.json"))), seed)
    for number in range(blows):
        print(f"blow {number + 1}, {storm.blow()}", flush=True)
    storm.let_finish()
    print(f"{storm.sweeps} sweeps survived {blows} blows: every number is the same", flush=True)


class Storm:
    """A sweep that is hit, and begun anew in another folder when all its runs are done.

    Args:
        whole: Folder of the undisturbed sweep.
        overrides: What is run.
        seconds: What a run takes.
        seed: Of the blows and their moments.
    """

    def __init__(self, whole: Path, overrides: Sequence[str], seconds: float, seed: int) -> None:
        self.whole, self.overrides, self.seconds = whole, overrides, seconds
        self.dice = random.Random(seed)
        self.left: list[Blow] = []
        self.sweeps = 0
        self.begin()

    def begin(self) -> None:
        """Start the sweep in a new folder."""
        self.folder = self.whole.with_name(f"hit{self.sweeps + 1}")
        self.done: dict[Path, tuple[int, bytes]] = {}
        self.launcher = start(self.folder, self.overrides)

    def blow(self) -> str:
        """Wait for a moment, deal the next blow, check what is left, and say what it was."""
        if self.launcher.poll() is not None:
            self.go_on()
        if self.dice.random() < 0.7:  # else while everything starts
            wait_for_work(self.launcher, self.folder, time.time())
        time.sleep(self.dice.uniform(0, self.seconds / 2))
        self.left = self.left or self.dice.sample(BLOWS, len(BLOWS))
        blow = self.left.pop()
        gone = strike(blow, self.launcher, self.folder)
        if gone is not None:
            check_files(self.folder)
        check_done_once(self.folder, self.done)
        end = "it goes on" if gone is None else f"all processes were gone after {gone:.1f} s"
        return f"{blow.__name__}: {len(self.done)} done; {end}"

    def go_on(self) -> None:
        """Start the launcher again, in a new folder if all is done here."""
        if self.launcher.returncode == 0:
            self.check()
            self.begin()
        else:
            self.launcher = start(self.folder, self.overrides)

    def let_finish(self, starts: int = 4) -> None:
        """Let the sweep finish, whatever the last blow has done to the present launcher."""
        for _ in range(starts):
            if self.launcher.wait() == 0:
                break
            self.launcher = start(self.folder, self.overrides)
        assert self.launcher.wait() == 0
        self.check()

    def check(self) -> None:
        """Check a sweep that is done."""
        check_done_once(self.folder, self.done)
        compare(self.whole, self.folder)
        check_leftovers(self.folder)
        self.sweeps += 1


def strike(blow: Blow, launcher: subprocess.Popen, folder: Path) -> float | None:
    """Deal a blow; return how long its victims lived on, or None if the launcher goes on."""
    if not blow(launcher, folder):
        return None
    started = time.monotonic()
    patience = KILLED_PATIENCE if "kill" in blow.__name__ else PATIENCE
    with contextlib.suppress(subprocess.TimeoutExpired):
        launcher.wait(patience)
    return time_until_gone(folder, started, patience)


def kill_launcher(launcher: subprocess.Popen, folder: Path) -> bool:
    """Kill the launcher alone: what it started must end by itself."""
    send(launcher.pid, signal.SIGKILL)
    return True


def kill_everything(launcher: subprocess.Popen, folder: Path) -> bool:
    """Kill all processes of the sweep."""
    for pid in {launcher.pid, *processes(folder)}:
        send(pid, signal.SIGKILL)
    return True


def kill_a_run(launcher: subprocess.Popen, folder: Path) -> bool:
    """Kill a run: the launcher starts it once more."""
    return hit_a_run(launcher, folder, signal.SIGKILL)


def kill_a_child_of_a_run(launcher: subprocess.Popen, folder: Path) -> bool:
    """Kill a worker of a run."""
    for pid in runs_of(launcher):
        for child in children(pid):
            send(child, signal.SIGKILL)
            return False
    return False


def terminate_launcher(launcher: subprocess.Popen, folder: Path) -> bool:
    """Ask the launcher to end, as a batch system does."""
    send(launcher.pid, signal.SIGTERM)
    return True


def interrupt_launcher(launcher: subprocess.Popen, folder: Path) -> bool:
    """Ask the launcher to end, as Ctrl-C does."""
    send(launcher.pid, signal.SIGINT)
    return True


def interrupt_launcher_twice(launcher: subprocess.Popen, folder: Path) -> bool:
    """Ask again before it has ended."""
    send(launcher.pid, signal.SIGINT)
    time.sleep(0.4)
    send(launcher.pid, signal.SIGINT)
    return True


def hang_up_launcher(launcher: subprocess.Popen, folder: Path) -> bool:
    """Close the terminal of the launcher."""
    send(launcher.pid, signal.SIGHUP)
    return True


def terminate_a_run(launcher: subprocess.Popen, folder: Path) -> bool:
    """Ask a run to end."""
    return hit_a_run(launcher, folder, signal.SIGTERM)


def interrupt_a_run(launcher: subprocess.Popen, folder: Path) -> bool:
    """Ask a run to end, as Ctrl-C does."""
    return hit_a_run(launcher, folder, signal.SIGINT)


def halt_a_run_for_a_while(launcher: subprocess.Popen, folder: Path) -> bool:
    """Halt a run for two seconds."""
    runs = runs_of(launcher)[:1]
    for pid in runs:
        send(pid, signal.SIGSTOP)
    time.sleep(2)
    for pid in runs:
        send(pid, signal.SIGCONT)
    return False


def halt_a_run_and_kill_launcher(launcher: subprocess.Popen, folder: Path) -> bool:
    """Halt a run, and kill its launcher: a halted process, too, must end."""
    hit_a_run(launcher, folder, signal.SIGSTOP)
    return kill_launcher(launcher, folder)


BLOWS: tuple[Blow, ...] = (
    kill_launcher,
    kill_everything,
    kill_a_run,
    kill_a_child_of_a_run,
    terminate_launcher,
    interrupt_launcher,
    interrupt_launcher_twice,
    hang_up_launcher,
    terminate_a_run,
    interrupt_a_run,
    halt_a_run_for_a_while,
    halt_a_run_and_kill_launcher,
)


def hit_a_run(launcher: subprocess.Popen, folder: Path, number: signal.Signals) -> bool:
    """Send a signal to a run that works, if one does; the launcher goes on."""
    for pid in runs_of(launcher)[:1]:
        send(pid, number)
    return False


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def children(parent: int) -> list[int]:
    """Return the processes that a process has started."""
    listing = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True)
    rows = (line.split() for line in listing.stdout.splitlines())
    return [int(pid) for pid, above in rows if int(above) == parent]


def runs_of(launcher: subprocess.Popen) -> list[int]:
    """Return the processes of the runs that a launcher has started."""
    return [pid for pid in children(launcher.pid) if "hydra.run.dir" in command_of(pid)]


def command_of(pid: int) -> str:
    """Return the words of a process, or nothing if it has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
    return ""


def start(folder: Path, overrides: Sequence[str]) -> subprocess.Popen:
    """Start the sweep; what it prints goes to a file beside its folder."""
    words = [sys.executable, "-m", "src.train", *overrides, f"hydra.sweep.dir={folder}"]
    with folder.with_suffix(".txt").open("a") as output:
        return subprocess.Popen(words, cwd=PROJECT, stdout=output, stderr=subprocess.STDOUT)


def wait_for_work(launcher: subprocess.Popen, folder: Path, since: float) -> None:
    """Wait until a run has written its numbers of an epoch, or the launcher has ended."""
    while launcher.poll() is None:
        times = [path.stat().st_mtime for path in folder.glob("*/metrics.csv")]
        if max(times, default=0.0) > since:
            return
        time.sleep(0.02)


def processes(folder: Path) -> list[int]:
    """Return the processes whose command names the folder."""
    listing = subprocess.run(["ps", "-eo", "pid=,stat=,args="], capture_output=True, text=True)
    rows = [line.split(maxsplit=2) for line in listing.stdout.splitlines()]
    return [
        int(row[0]) for row in rows if len(row) == 3 and str(folder) in row[2] and row[1][0] != "Z"
    ]


def time_until_gone(folder: Path, started: float, patience: float) -> float:
    """Wait until no process works on the folder, and return for how long."""
    while left := processes(folder):
        assert time.monotonic() < started + patience, f"processes {left} outlive their launcher"
        time.sleep(0.05)
    return time.monotonic() - started


def check_leftovers(folder: Path) -> None:
    """Check that a finished sweep has no file of a writer or an owner that is gone."""
    left = [path for path in folder.rglob(".*") if path.name.startswith((".partial", ".lock"))]
    left += folder.glob(".sweep.json.*")
    assert not left, f"left over: {left}"


def check_files(folder: Path) -> None:
    """Check that every file under its final name is whole."""
    for path in folder.rglob("*.ckpt"):
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
    for path in folder.rglob("*.json"):
        json.loads(path.read_text())
    for path in folder.rglob("metrics.csv"):
        assert all(None not in row.values() for row in csv.DictReader(path.open(newline="")))


def check_done_once(folder: Path, done: dict[Path, tuple[int, bytes]]) -> None:
    """Check that no finished run was finished again, and take up those that are new."""
    for path in folder.glob("*/done.json"):
        identity = (path.stat().st_mtime_ns, path.read_bytes())
        assert done.setdefault(path, identity) == identity, f"{path} was written again"


def compare(whole: Path, hit: Path) -> None:
    """Check that two sweeps have the same runs with the same numbers."""
    runs = sorted(path.parent.name for path in whole.glob("*/done.json"))
    assert runs
    assert runs == sorted(path.parent.name for path in hit.glob("*/done.json"))
    for run in runs:
        assert metrics(whole / run) == metrics(hit / run), run
        for name in ("subjects.csv", *(p.name for p in (whole / run).glob("predictions/*"))):
            (ours,), (theirs,) = ((list((home / run).rglob(name))) for home in (whole, hit))
            assert ours.read_bytes() == theirs.read_bytes(), f"{run}: {name}"


def metrics(run: Path) -> list[dict[str, str]]:
    """Return what is reproducible in ``metrics.csv``, as it is written there."""
    with (run / "metrics.csv").open(newline="") as file:
        return [
            {key: value for key, value in row.items() if not key.startswith(TIMES)}
            for row in csv.DictReader(file)
        ]


if __name__ == "__main__":
    main()
