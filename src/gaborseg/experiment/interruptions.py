"""How the work on a run ends: done, failed, interrupted, or killed with its other processes."""

import contextlib
import logging
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any, cast

import pytorch_lightning as pl
from lightning_fabric.strategies.launchers import subprocess_script
from pytorch_lightning.utilities.exceptions import SIGTERMException
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from gaborseg.interface import Terminated, mistakes_as_user_errors, obstacle
from gaborseg.runs import Run, RunFile, lead_these, note_failure
from gaborseg.training import finish

log = logging.getLogger(__name__)

_PATIENCE = 30.0
"""Seconds in which the first process can end by itself after another one has."""
_MOMENT = 3.0
"""Seconds between the last connection of a process and its end, at most."""


@contextlib.contextmanager
def at_work(run: Run) -> Iterator[None]:
    """Hold the run's folder, and tell its files and its tracker how the work ended.

    Raises:
        UserError: If another process works on the run.
    """
    with contextlib.ExitStack() as stack:
        if getattr(rank_zero_only, "rank", 0) == 0:
            with mistakes_as_user_errors():
                stack.enter_context(run.working())
        stack.enter_context(lead_these())  # the other processes of a distributed run
        try:
            yield
        except BaseException as error:
            if isinstance(error, Exception):
                note_failure(run.folder, obstacle(error) or error)
            finish(exit_code=1)
            raise
        finish(exit_code=0)


@contextlib.contextmanager
def keyboard_interrupts(trainer: pl.Trainer) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM, which Lightning turns into exits, interrupt as usual."""
    try:
        yield
    except SIGTERMException as error:
        raise Terminated from error
    except SystemExit as error:
        _end_all(_others(trainer))
        cause = error.__context__
        raise cause if isinstance(cause, Terminated) else KeyboardInterrupt from error


def end_at_once_when_terminated(trainer: pl.Trainer) -> None:
    """Let SIGTERM end a process of a distributed run without asking the others.

    Lightning would have it tell the others first, in a broadcast that they, who wait for it in
    another one, never take part in. The first process is interrupted as by Ctrl-C; any other ends
    as by default, even if it waits for the first, which then sees that it is gone.
    """
    if trainer.world_size == 1:
        return
    connector = trainer._signal_connector
    register = connector.register_signal_handlers

    def register_and_replace() -> None:
        register()
        signal.signal(signal.SIGTERM, _terminate if trainer.is_global_zero else signal.SIG_DFL)

    cast(Any, connector).register_signal_handlers = register_and_replace


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


@contextlib.contextmanager
def killed_together(run: Run, trainer: pl.Trainer) -> Iterator[None]:
    """End a distributed run as another of its processes ended: killed or terminated, not failed.

    The other processes see no more than a lost connection; that is not the error to report.

    Raises:
        Terminated: Another process was asked to end.
    """
    try:
        with _patient_watch():
            yield
    except Exception as error:
        others = _others(trainer)
        ends = _ends_of(others)
        _end_all(others)
        if min(ends, default=0) < 0:
            log.error("another process of this run was killed")
            run.path(RunFile.FAILURE).unlink(missing_ok=True)
            if -signal.SIGTERM in ends:
                raise Terminated from error
            os.kill(os.getpid(), signal.SIGKILL)
        raise


def _ends_of(processes: list[subprocess.Popen]) -> set[int]:
    """Return how processes ended; wait for the first a little: its connections close before."""
    end = time.monotonic() + _MOMENT
    while processes and not any(process.poll() for process in processes):
        if time.monotonic() > end:
            break
        time.sleep(0.05)
    return {process.poll() or 0 for process in processes}


@contextlib.contextmanager
def _patient_watch() -> Iterator[None]:
    """Let Lightning's watch wait before it kills this process because another one has ended.

    It would do so within five seconds, so that nothing could be told: to files, tracker or caller.
    """
    watch: Any = subprocess_script._ChildProcessObserver
    kill_all = watch._terminate_all

    def wait_and_kill_all(self: Any) -> None:
        end = time.monotonic() + _PATIENCE
        while self._child_processes and time.monotonic() < end:
            time.sleep(0.1)
        if self._child_processes:
            kill_all(self)

    watch._terminate_all = wait_and_kill_all
    try:
        yield
    finally:
        watch._terminate_all = kill_all


def _others(trainer: pl.Trainer) -> list[subprocess.Popen]:
    """Return Lightning's own list of the processes that this one has started for the run."""
    processes: list[subprocess.Popen] = getattr(trainer.strategy.launcher, "procs", [])
    return processes


def _end_all(processes: list[subprocess.Popen]) -> None:
    """Kill processes; emptied, Lightning's list of them makes its watch kill nobody else."""
    for process in processes:
        process.kill()
        process.wait()
    processes.clear()
