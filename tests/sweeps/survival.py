"""Does a sweep survive being killed again and again?

    python tests/sweeps/survival.py FOLDER                    twelve runs, killed ten times
    python tests/sweeps/survival.py FOLDER --kills 2 OVERRIDES ...

The same sweep runs twice: undisturbed, and killed (SIGKILL) at random moments, the launcher alone
or with all that it started, until it is let finish. Nobody may outlive a killed launcher, no file
may be half written, what was done once must never be done again, and in the end every number must
be the same, bit by bit.
"""

import argparse
import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

PROJECT = Path(__file__).parents[2]
SMOKE = ["+sweeps=smoke", "hydra.launcher.n_jobs=2"]
TIMES = ("seconds", "cost/")  # what of metrics.csv is time, not result
PATIENCE = 10.0  # seconds in which what a killed launcher started has to be gone


def main() -> None:
    """Run both sweeps and compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Plain)
    parser.add_argument("folder", type=Path, help="where the two sweeps go; must not exist")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("overrides", nargs="*", default=SMOKE)
    arguments = parser.parse_args()
    survive(arguments.folder.absolute(), arguments.overrides, arguments.kills, arguments.seed)


class Plain(argparse.RawDescriptionHelpFormatter):
    """Help as it is written above."""


def survive(folder: Path, overrides: Sequence[str], kills: int, seed: int = 0) -> None:
    """Run a sweep undisturbed and disturbed; an ``AssertionError`` says what that changed."""
    dice = random.Random(seed)
    folder.mkdir(parents=True)
    whole, killed = folder / "whole", folder / "killed"
    started = time.monotonic()
    assert start(whole, overrides).wait() == 0
    seconds = time.monotonic() - started
    print(f"undisturbed: {seconds:.0f} s", flush=True)
    each = seconds / len(list(whole.glob("*/done.json")))
    done: dict[Path, tuple[int, bytes]] = {}
    hits = 0
    for number in range(kills):
        launcher = start(killed, overrides)
        started = time.time()
        if number % 3:  # else while everything starts
            wait_for_work(launcher, killed, started)
        time.sleep(dice.uniform(0, each / 2))  # so that the last kill, too, finds work
        moment = time.time() - started
        hits += launcher.poll() is None
        alone = kill(launcher, killed, everything=dice.random() < 0.5)
        gone = time_until_gone(killed)
        check_files(killed)
        check_done_once(killed, done)
        half = len(list(killed.glob("*/last.ckpt"))) - len(done)
        print(
            f"kill {number + 1} after {moment:.1f} s, {'launcher alone' if alone else 'all'}: "
            f"{len(done)} done, {half} half done; the last process was gone after {gone:.1f} s",
            flush=True,
        )
    assert start(killed, overrides).wait() == 0
    check_done_once(killed, done)
    compare(whole, killed)
    print(f"{len(done)} runs survived {hits} kills at work: every number is the same", flush=True)


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


def kill(launcher: subprocess.Popen, folder: Path, *, everything: bool) -> bool:
    """Kill the launcher, and all that works on the folder if so asked; return whether not."""
    victims = {launcher.pid, *(processes(folder) if everything else ())}
    for pid in victims:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    launcher.wait()
    return not everything


def processes(folder: Path) -> list[int]:
    """Return the processes whose command names the folder."""
    listing = subprocess.run(["ps", "-eo", "pid=,stat=,args="], capture_output=True, text=True)
    rows = [line.split(maxsplit=2) for line in listing.stdout.splitlines()]
    return [
        int(row[0]) for row in rows if len(row) == 3 and str(folder) in row[2] and row[1][0] != "Z"
    ]


def time_until_gone(folder: Path) -> float:
    """Wait until no process works on the folder, and return for how long."""
    started = time.monotonic()
    while left := processes(folder):
        seconds = time.monotonic() - started
        assert seconds < PATIENCE, f"processes {left} outlive their launcher"
        time.sleep(0.05)
    return time.monotonic() - started


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


def compare(whole: Path, killed: Path) -> None:
    """Check that two sweeps have the same runs with the same numbers."""
    runs = sorted(path.parent.name for path in whole.glob("*/done.json"))
    assert runs
    assert runs == sorted(path.parent.name for path in killed.glob("*/done.json"))
    for run in runs:
        assert metrics(whole / run) == metrics(killed / run), run
        for name in ("subjects.csv", *(p.name for p in (whole / run).glob("predictions/*"))):
            (ours,), (theirs,) = ((list((home / run).rglob(name))) for home in (whole, killed))
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
