"""How a command starts and ends: help, and one line for a user's mistake."""

import contextlib
import glob
import logging
import os
import re
import shlex
import shutil
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from gaborseg.interface.completion import shell_completion
from gaborseg.interface.composition import each_interpolation_parsed_once
from gaborseg.interface.configuration import (
    find_own_modules,
    find_plugins,
    overrides_first,
    quote_values,
    register_resolvers,
    spelt_out,
    unreadable_settings,
)
from gaborseg.interface.help import help_text
from gaborseg.interface.obstacles import obstacle
from gaborseg.interface.screen import LogFile, never_fail_to_print
from gaborseg.machine import printable
from gaborseg.runs import RunFile, end_with_parent
from gaborseg.sweeps import SHELLS_SIGNAL, SweepFailed

log = logging.getLogger(__name__)

_KNOWN_WARNINGS = (
    r".*`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning's own use of torch
    r"Checkpoint directory .* exists and is not empty",  # the run folder: intended
    r".*does not have many workers",  # data.num_workers is the user's to choose
    r"Found \d+ module\(s\) in eval mode",  # frozen normalisations
    r"It is recommended to use `self.log\(",  # those values are the same on all processes
    r"Using `DistributedSampler` with the dataloaders",  # the data's samplers repeat no subject
    r"Dynamo detected a call to a `functools.lru_cache`",  # of what the arguments alone decide
)
_USAGE_ERROR = 2
_NO_LOG = "Unable to configure handler"  # how logging wraps what a handler has raised
_RUN_FOLDER = "hydra.run.dir must be a folder that can be written to"
_TWO_WAYS = "Only one of --run, --multirun"
_NO_OPTION = "Config group override must be"  # Hydra's words for GROUP=null
_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
_OPEN = re.compile(r"(augmentation\.transforms|callbacks|logger|metrics)\.[^.]+")
"""What a user may add one of their own to."""
_ONE_LINE = (
    "GABORSEG_ONE_LINE"  # set for the processes that we start: HYDRA_FULL_ERROR is then ours
)


class Terminated(KeyboardInterrupt):
    """A signal asked this process to end, and it was not Ctrl-C."""


class UserError(Exception):
    """A mistake in what the user asked for or brought; its message is all that is shown."""


@contextlib.contextmanager
def mistakes_as_user_errors() -> Iterator[None]:
    """Turn the errors of checking and building, before any training, into a ``UserError``.

    Raises:
        UserError: The user's request or files are wrong.
        Obstacle: This machine lacks something.
    """
    try:
        yield
    except HydraException as error:
        raise obstacle(error) or UserError(_one_line(error.__cause__ or error)) from error
    except (
        ValueError,
        TypeError,
        OSError,
        ImportError,
        OmegaConfBaseException,
    ) as error:
        raise obstacle(error) or UserError(_one_line(error)) from error


def check_paths(key: str, value: object) -> None:
    """Refuse a setting that names files or folders that do not exist, before slow imports.

    Args:
        key: Name of the setting.
        value: A path or a pattern, several of them, or None.

    Raises:
        UserError: Nothing matches.
    """
    several = isinstance(value, Sequence) and not isinstance(value, str)
    for path in list(value) if several else [value]:  # type: ignore[call-overload]
        text = os.path.expanduser(str(path))
        if path is not None and not (os.path.exists(text) or glob.glob(text)):
            raise UserError(f"{key} must name what exists, got {path}")


@contextlib.contextmanager
def errors_in_log() -> Iterator[None]:
    """End a job on an error: one line for a user's mistake, else a traceback, both in its log.

    What the machine lacks is one line too. A run that is refused before it has begun leaves no
    folder. In a sweep the error goes on to Hydra, which notes it and starts the next job.
    """
    try:
        yield
    except Exception as error:
        told = error if isinstance(error, UserError) else obstacle(error)
        log.error(f"error: {told or error}", exc_info=told is None or _shows_tracebacks())
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise
        if isinstance(error, UserError):
            _remove_refused()
        sys.exit(_USAGE_ERROR if isinstance(error, UserError) else 1)


def _remove_refused() -> None:
    """Remove the folder that Hydra has made for a run, if this process wrote all that is in it."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, LogFile)]:
        folder = Path(handler.baseFilename).parent
        names = {path.name for path in folder.iterdir()}
        if handler.is_new and names <= {Path(handler.baseFilename).name, RunFile.FAILURE}:
            root.removeHandler(handler)
            handler.close()
            shutil.rmtree(folder, ignore_errors=True)


def _shows_tracebacks() -> bool:
    """Return whether the user asked for tracebacks: ``HYDRA_FULL_ERROR=1`` in the environment."""
    return os.environ.get("HYDRA_FULL_ERROR") == "1" and _ONE_LINE not in os.environ


def run_command(
    main: Callable[[], object], *, settings: str | None = None, paths: Sequence[str] = ()
) -> None:
    """Run a main function; end with one line and exit code 2 on a user's mistake.

    ``HYDRA_FULL_ERROR=1`` in the environment shows the traceback instead.

    Args:
        main: Of a command's module, whose docstring is the help.
        settings: Name of the command's YAML file in ``conf/``, if Hydra composes its settings.
        paths: Settings whose values Hydra takes as they are, whatever characters they hold.
    """
    if {"-h", "--help"} & set(sys.argv[1:]):
        with output_may_be_cut():
            print(help_text(sys.modules[main.__module__].__doc__ or "", settings), flush=True)
        return
    if (told := _completion(settings)) is not None:
        sys.stdout.write(f"{told}\n" if told else "")
        return
    never_fail_to_print()
    os.environ["MPLBACKEND"] = "agg"  # a notebook's own is not there for a process that it starts
    end_with_parent()
    _forget_ranks_without_number()
    for message in _KNOWN_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    arguments = sys.argv[1:] if settings is None else overrides_first(sys.argv[1:])
    sys.argv[1:] = quote_values(spelt_out(arguments, settings), paths)
    find_plugins()
    find_own_modules(sys.argv[1:])
    register_resolvers()
    with each_interpolation_parsed_once():
        _run(main)


def _completion(settings: str | None) -> str | None:
    """Return what a shell that completes the command has asked for, if one has."""
    try:
        return shell_completion(sys.argv[1:], settings)
    except ValueError as error:
        _end(str(error))


def _run(main: Callable[[], object]) -> None:
    if _shows_tracebacks():
        main()
        return
    os.environ.update({"HYDRA_FULL_ERROR": "1", _ONE_LINE: "1"})
    try:
        main()
    except KeyboardInterrupt as stop:
        print("interrupted: the same command goes on after the last whole epoch", file=sys.stderr)
        number = signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT
        sys.exit(SHELLS_SIGNAL + number)
    except SweepFailed as error:
        sys.exit(printable(f"error: {error}"))
    except OverrideParseException as error:
        _end(_unreadable(error.override))
    except (UserError, HydraException, OmegaConfBaseException) as error:
        _end(_one_line(error))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        if (reason := unreadable_settings(sys.argv[1:], error)) is None:
            raise
        _end(reason)
    except Exception as error:
        if told := obstacle(error):
            sys.exit(printable(f"error: {told}"))
        if isinstance(error, ValueError) and str(error).startswith(_NO_LOG) and error.__cause__:
            _end(f"{_RUN_FOLDER}: {_one_line(error.__cause__)}")
        if isinstance(error, ValueError) and str(error).startswith(_TWO_WAYS):
            _end("--cfg and --info show one run: leave out -m, and give each setting one value")
        if isinstance(error, ValueError) and str(error).startswith(_NO_OPTION):
            _end("null is no option of a group: --help lists those there are")
        if not isinstance(error, OSError):
            raise
        _end(f"{_RUN_FOLDER}: {_one_line(error)}")


def _forget_ranks_without_number() -> None:
    """Remove from the environment what Lightning would end at when it is imported."""
    for name in _RANKS:
        if not os.environ.get(name, "0").isdecimal():
            del os.environ[name]


@contextlib.contextmanager
def output_may_be_cut() -> Iterator[None]:
    """End quietly if the reader of the output has had enough, as ``head`` does."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _unreadable(override: str) -> str:
    """What is said of an argument that Hydra's grammar does not have."""
    key, separator, value = override.partition("=")
    if not separator or not re.fullmatch(r"[\w.@/+~]+", key):
        return f"{override} must be a setting, such as seed=1"
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    return f"{key} must be readable, got {value}: quote it: " + shlex.quote(f'{key}="{quoted}"')


def _end(message: str) -> NoReturn:
    print(printable(f"error: {message}"), file=sys.stderr)
    sys.exit(_USAGE_ERROR)


def _one_line(error: BaseException) -> str:
    """Return an error's message as one line; of several problems of the data, the first."""
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} must be given: {error.full_key}=..."
    if unknown := re.match(r"Could not override '(.*)'", str(error)):
        if unknown[1] == "sweeps":
            return "there is no setting sweeps: +sweeps=NAME runs a sweep"
        added = f"; +{unknown[1]}=... adds one" if _OPEN.match(unknown[1]) else ""
        return f"there is no setting {unknown[1]}; --cfg job shows all settings{added}"
    lines = str(error).splitlines()[: 1 if isinstance(error, ValueError) else None]
    text = " ".join(" ".join(lines).split()).partition(" Config search path:")[0]
    return text or type(error).__name__
