"""The project's commands in forks of this process, within bounds of time and memory.

Python and torch take seconds to start; a fork that has them already takes milliseconds, so that a
command can be tried on hundreds of inputs. What a command imports lazily is imported here.
"""

import importlib
import os
import resource
import runpy
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import support_path  # noqa: F401 - for those who import this module
import torch

_LAZY = ("experiment", "inference", "evaluation", "preparation", "reporting", "models", "sweeps")
_POLL = 0.01


@dataclass(frozen=True)
class Ending:
    """How a command ended.

    Attributes:
        code: Its exit code, negative for a signal; None if it was still running after its time.
        output: What it printed.
        seconds: How long it ran.
    """

    code: int | None
    output: str
    seconds: float

    @property
    def kind(self) -> str:
        """One word: ok, told (an error in one line), traceback, died or hang."""
        if self.code is None:
            return "hang"
        if "Traceback (most recent call last)" in self.output:
            return "traceback"
        if self.code < 0:
            return "died"
        return "told" if self.code else "ok"


def prepare_to_fork() -> None:
    """Import what the commands need, with one thread: a fork has no others."""
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    for room in _LAZY:
        importlib.import_module(f"gaborseg.{room}")


def run_forked(
    name: str,
    arguments: Sequence[str | bytes],
    folder: Path,
    *,
    seconds: float = 60,
    memory: int = 8 * 2**30,
) -> Ending:
    """Run a command in a folder; one that has not ended in time is killed with its children."""
    with tempfile.TemporaryFile() as output:
        started = time.monotonic()
        child = os.fork()
        if not child:
            _become(name, [os.fsdecode(argument) for argument in arguments], folder, output, memory)
        code = _wait(child, started + seconds)
        output.seek(0)
        text = output.read().decode(errors="replace")
        return Ending(code, text, time.monotonic() - started)


def _become(name: str, arguments: list[str], folder: Path, output, memory: int) -> None:
    """Run the command in this process, and end it."""
    code = 1
    try:
        os.setsid()
        os.chdir(folder)
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for descriptor in (1, 2):
            os.dup2(output.fileno(), descriptor)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", errors="backslashreplace")
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace")
        sys.argv = [name, *arguments]
        runpy.run_module(f"gaborseg.commands.{name}", run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(child: int, deadline: float) -> int | None:
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(_POLL)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None
