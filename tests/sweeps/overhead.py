"""What does the launcher cost, and how long does a command take to start?

    python tests/sweeps/overhead.py FOLDER                  twelve runs, two at a time
    python tests/sweeps/overhead.py FOLDER OVERRIDES ...    other runs: no sweeps, but n times seed

The same runs, once as a sweep and once as commands that two threads start one after the other.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PROJECT = Path(__file__).parents[2]
JOBS, RUNS, IMPORTS = 2, 12, 3
SETTINGS = ["experiment=smoke", "kernel=conventional", "logger=csv", "trainer.max_epochs=5"]
COMMAND = [sys.executable, "-m", "src.train"]


def main() -> None:
    """Measure imports, commands and sweep, and print them side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Plain)
    parser.add_argument("folder", type=Path, help="where the runs go; must not exist")
    parser.add_argument("overrides", nargs="*", default=SETTINGS)
    arguments = parser.parse_args()
    folder = arguments.folder.absolute()
    folder.mkdir(parents=True)
    for name in ("src.train", "gaborseg.experiment.run"):
        print(f"import {name}: {statistics.median(imports(name)):.2f} s", flush=True)
    run(*arguments.overrides, f"hydra.run.dir={folder}/first")  # builds what is built once
    alone = timed(lambda: commands(folder / "commands", arguments.overrides))
    print(f"{RUNS} commands, {JOBS} at a time: {alone:.1f} s", flush=True)
    sweep = timed(lambda: launcher(folder / "sweep", arguments.overrides))
    print(f"the same as a sweep: {sweep:.1f} s, {100 * (sweep / alone - 1):.0f} % more", flush=True)


class Plain(argparse.RawDescriptionHelpFormatter):
    """Help as it is written above."""


def imports(name: str) -> list[float]:
    """Return how long it takes to import a module, some times over."""
    words = [sys.executable, "-c", f"import {name}"]
    return [timed(lambda: subprocess.run(words, cwd=PROJECT, check=True)) for _ in range(IMPORTS)]


def commands(folder: Path, overrides: Sequence[str]) -> None:
    """Run every run as a command, some at a time, with the processors shared between them."""
    runs = [[*overrides, f"seed={i}", f"hydra.run.dir={folder}/{i}"] for i in range(RUNS)]
    with ThreadPoolExecutor(JOBS) as pool:
        list(pool.map(lambda choices: run(*choices), runs))


def launcher(folder: Path, overrides: Sequence[str]) -> None:
    """Run them all as a sweep."""
    seeds = ",".join(map(str, range(RUNS)))
    settings = [f"hydra.sweep.dir={folder}", f"hydra.launcher.n_jobs={JOBS}"]
    run("-m", *overrides, f"seed={seeds}", *settings)


def run(*words: str) -> None:
    """Run a command of the project quietly."""
    threads = str(max((os.cpu_count() or 1) // JOBS, 1))
    environment = {"OMP_NUM_THREADS": threads, **os.environ}
    quiet = subprocess.DEVNULL
    quietly = {"stdout": quiet, "stderr": quiet}
    subprocess.run([*COMMAND, *words], cwd=PROJECT, check=True, env=environment, **quietly)


def timed(action: Callable[[], object]) -> float:
    """Return how long an action takes, in seconds."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
