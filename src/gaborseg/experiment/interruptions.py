"""How the work on a run ends: done, failed, interrupted, or killed with its other processes."""

import contextlib
import logging
import os
import signal
import time
from collections.abc import Iterator

import pytorch_lightning as pl
from pytorch_lightning.utilities.exceptions import SIGTERMException
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from gaborseg.interface import Terminated, mistakes_as_user_errors, obstacle
from gaborseg.runs import Run, RunFile, lead_these, note_failure
from gaborseg.training import finish

log = logging.getLogger(__name__)


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
def keyboard_interrupts() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM, which Lightning turns into exits, interrupt as usual."""
    try:
        yield
    except SIGTERMException as error:
        raise Terminated from error
    except SystemExit as error:
        raise KeyboardInterrupt from error


@contextlib.contextmanager
def killed_together(run: Run, trainer: pl.Trainer) -> Iterator[None]:
    """End a distributed run as killed, not as failed, if another of its processes was killed.

    The other processes see no more than a lost connection; that is not the error to report.
    """
    try:
        yield
    except Exception:
        others = getattr(trainer.strategy.launcher, "procs", [])
        if others:
            time.sleep(1)  # its connections are closed a moment before it has ended
        if any((process.poll() or 0) < 0 for process in others):
            log.error("another process of this run was killed")
            for process in others:
                process.kill()
                process.wait()
            run.path(RunFile.FAILURE).unlink(missing_ok=True)
            os.kill(os.getpid(), signal.SIGKILL)
        raise
