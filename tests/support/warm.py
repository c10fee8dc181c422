"""The project's commands in new processes that have imported torch and Lightning already.

To import them takes most of the time of a small command. A server, one for each process that runs
tests, imports them once; every command is a fork of it: a process of its own, with its own signals
and exit code.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path

from config import PROJECT

_CONTEXT = multiprocessing.get_context("forkserver")
_ROOMS = ("evaluation", "experiment", "inference", "reporting", "sweeps")
_CONTEXT.set_forkserver_preload([f"gaborseg.{room}" for room in _ROOMS])


_STREAMS = ("stdout", "stderr")


class Command:
    """``python -m MODULE ARGUMENTS`` or ``python -c CODE ARGUMENTS``, from its start to its end.

    Args:
        words: The module, or ``-c`` and the code, and arguments.
        environment: Variables that are set besides those of this process.
        folder: Where it is started.
    """

    def __init__(
        self,
        *words: str,
        environment: Mapping[str, str] | None = None,
        folder: Path = PROJECT,
    ) -> None:
        self.words = words
        self.output = tempfile.TemporaryDirectory()
        variables = dict(os.environ) | dict(environment or {})
        self.process: BaseProcess = _CONTEXT.Process(
            target=_become, args=(words, variables, str(folder), self.output.name)
        )
        self.process.start()
        assert self.process.pid is not None
        self.pid = self.process.pid

    def wait(self, timeout: float = 180) -> subprocess.CompletedProcess[str]:
        """Return what became of it; after the timeout it is killed.

        Raises:
            TimeoutExpired: If it has not ended in time.
        """
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.process.kill()
            raise subprocess.TimeoutExpired(self.words, timeout)
        texts = [Path(self.output.name, name).read_text(encoding="utf-8") for name in _STREAMS]
        return subprocess.CompletedProcess(self.words, self.process.exitcode, *texts)


def run_command(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Return what became of a command."""
    return Command(*words, **options).wait()  # type: ignore[arg-type]


def _become(words: tuple[str, ...], variables: dict[str, str], folder: str, output: str) -> None:
    """Run the command in this process, and end it."""
    code = 1
    try:
        multiprocessing.set_start_method(None, force=True)  # as in a process that nobody forked
        signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's & ignores
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(variables)
        for number, name in enumerate(_STREAMS, 1):
            os.dup2(os.open(f"{output}/{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
        sys.argv = [*words]
        _run(*words)
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


def _run(first: str, *others: str) -> None:
    if first != "-c":
        runpy.run_module(first, run_name="__main__", alter_sys=True)
    else:
        sys.argv = [first, *others[1:]]
        exec(compile(others[0], "<code>", "exec"), {"__name__": "__main__"})
