"""What every command shares: resolvers, plain logging, and one line for a user's mistake."""

import contextlib
import logging
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

import rich
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from src.runs import end_with_parent, folder_name, sweep_folder
from src.sweeps import SweepFailed
from src.sweeps.cells import SHELLS_SIGNAL

log = logging.getLogger(__name__)

KNOWN_WARNINGS = (
    r".*`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning's own use of torch
    r"Checkpoint directory .* exists and is not empty",  # the run folder: intended
    r".*does not have many workers",  # data.num_workers is the user's to choose
    r"It is recommended to use `self.log\(",  # those values are the same on all processes
    r"Using `DistributedSampler` with the dataloaders",  # the data's samplers repeat no subject
)
PLUGINS = str(Path(__file__).parent / "plugins")
USAGE_ERROR = 2
ONE_LINE = "GABORSEG_ONE_LINE"  # set for the processes that we start: HYDRA_FULL_ERROR is then ours


sys.path.append(PLUGINS)  # where Hydra, when it starts, finds the package hydra_plugins
if PLUGINS not in os.environ.get("PYTHONPATH", ""):  # and so do the workers of other launchers
    paths = filter(None, [os.environ.get("PYTHONPATH"), PLUGINS])
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)


class Terminated(KeyboardInterrupt):
    """A signal asked this process to end, and it was not Ctrl-C."""


class UserError(Exception):
    """A mistake in what the user asked for or brought; its message is all that is shown."""


class ConsoleHandler(logging.StreamHandler):
    """Writes to whatever ``sys.stderr`` is at that moment, so that progress bars stay whole."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        """Return the present standard error."""
        return sys.stderr


def build(node: DictConfig, **extra: Any) -> Any:
    """Return the object that a node of the configuration describes, made from plain values."""
    return instantiate(node, _convert_="all", **extra)


@contextlib.contextmanager
def mistakes_as_user_errors() -> Iterator[None]:
    """Turn the errors of checking and building, before any training, into a ``UserError``."""
    try:
        yield
    except HydraException as error:
        raise UserError(_one_line(error.__cause__ or error)) from error
    except (
        ValueError,
        TypeError,
        OSError,
        ImportError,
        OmegaConfBaseException,
    ) as error:
        raise UserError(_one_line(error)) from error


@contextlib.contextmanager
def errors_in_log() -> Iterator[None]:
    """End a job on an error: one line for a user's mistake, else a traceback, both in its log.

    In a sweep the error goes on to Hydra, which notes it and starts the next job.
    """
    try:
        yield
    except Exception as error:
        mistake = isinstance(error, UserError) and not shows_tracebacks()
        log.error(f"error: {error}", exc_info=not mistake)
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise
        sys.exit(USAGE_ERROR if isinstance(error, UserError) else 1)


def register_resolvers() -> None:
    """Let configurations use functions of ours: ``${folder_name:...}``, ``${powers:-3.5,-3}``."""
    resolvers: tuple[Callable[..., str], ...] = (folder_name, sweep_folder, powers)
    for function in resolvers:
        OmegaConf.register_new_resolver(function.__name__, function, replace=True)


def powers(*exponents: float) -> str:
    """Return powers of ten as the values of a sweep.

    Example:
        >>> powers(-3.5, -3)
        '0.00031622776601683794,0.001'
    """
    return ",".join(repr(10.0**exponent) for exponent in exponents)


def shows_tracebacks() -> bool:
    """Return whether the user asked for tracebacks: ``HYDRA_FULL_ERROR=1`` in the environment."""
    return os.environ.get("HYDRA_FULL_ERROR") == "1" and ONE_LINE not in os.environ


def run_command(main: Callable[[], object]) -> None:
    """Run a main function; end with one line and exit code 2 on a user's mistake.

    ``HYDRA_FULL_ERROR=1`` in the environment shows the traceback instead.
    """
    end_with_parent()
    for message in KNOWN_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    register_resolvers()
    if shows_tracebacks():
        main()
        return
    os.environ.update({"HYDRA_FULL_ERROR": "1", ONE_LINE: "1"})
    try:
        main()
    except KeyboardInterrupt as stop:
        print("interrupted: the same command goes on after the last whole epoch", file=sys.stderr)
        number = signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT
        sys.exit(SHELLS_SIGNAL + number)
    except SweepFailed as error:
        sys.exit(f"error: {error}")
    except (UserError, HydraException, OmegaConfBaseException) as error:
        _end(_one_line(error))
    except OSError as error:
        _end(f"hydra.run.dir must be a folder that can be written to: {_one_line(error)}")


def quote_values(arguments: Sequence[str], keys: Sequence[str]) -> list[str]:
    """Return arguments in which Hydra takes the values of some keys, such as paths, as they are.

    So are the items of a list in brackets. What holds quotes itself stays as it is.

    Example:
        >>> quote_values(["input=runs/kernel=gabor,loss=pcc", "threads=2"], ["input"])
        ["input='runs/kernel=gabor,loss=pcc'", 'threads=2']
        >>> quote_values(["input=[split=0,split=1]"], ["input"])
        ["input=['split=0','split=1']"]
    """
    return [_with_quotes(argument, keys) for argument in arguments]


def _with_quotes(argument: str, keys: Sequence[str]) -> str:
    key, _, value = argument.partition("=")
    if key not in keys or value in ("", "???", "null") or value[0] in "'\"":
        return argument
    if value[0] == "[" and value[-1] == "]":
        items = value[1:-1].split(",")
        return (
            argument if "'" in value or '"' in value else f"{key}=[{','.join(map(_quoted, items))}]"
        )
    return f"{key}={_quoted(value)}"


def _quoted(value: str) -> str:
    return QuotedString(value, Quote.single).with_quotes()


def show(renderable: object) -> None:
    """Print a table on the screen, in full width where the output is a file."""
    console = rich.get_console()
    if not console.is_terminal:
        console.width = max(console.width, 120)
    console.print(renderable)


def _end(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(USAGE_ERROR)


def _one_line(error: BaseException) -> str:
    """Return an error's message as one line; of several problems of the data, the first."""
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} must be given: {error.full_key}=..."
    if unknown := re.match(r"Could not override '(.*)'", str(error)):
        return f"there is no setting {unknown[1]}; --cfg job shows all settings"
    lines = str(error).splitlines()[: 1 if isinstance(error, ValueError) else None]
    text = " ".join(" ".join(lines).split()).partition(" Config search path:")[0]
    return text or type(error).__name__
