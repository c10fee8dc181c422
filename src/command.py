"""What every command shares: resolvers, plain logging, and one line for a user's mistake."""

import contextlib
import hashlib
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

import rich
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from pytorch_lightning.utilities.exceptions import MisconfigurationException

MAX_FOLDER_NAME = 180
KNOWN_WARNINGS = (
    r".*`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning's own use of torch
    r"Checkpoint directory .* exists and is not empty",  # the run folder: intended
    r".*does not have many workers",  # data.num_workers is the user's to choose
    r"It is recommended to use `self.log\(",  # those values are the same on all processes
    r"Using `DistributedSampler` with the dataloaders",  # the data's samplers repeat no subject
)
USAGE_ERROR = 2


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


def folder_name(overrides: Sequence[str]) -> str:
    """Return a folder name that depends on the choices alone, whatever their order.

    Example:
        >>> folder_name(["loss=pcc", "kernel=gabor"])
        'kernel=gabor,loss=pcc'
        >>> folder_name([])
        'default'
    """
    name = re.sub(r"[^\w=,.+-]", "_", ",".join(sorted(overrides))) or "default"
    if len(name) <= MAX_FOLDER_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: MAX_FOLDER_NAME - 9]}-{digest}"


def build(node: DictConfig, **extra: Any) -> Any:
    """Return the object that a node of the configuration describes, made from plain values."""
    return instantiate(node, _convert_="all", **extra)


@contextlib.contextmanager
def at_the_door() -> Iterator[None]:
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
        MisconfigurationException,
    ) as error:
        raise UserError(_one_line(error)) from error


@contextlib.contextmanager
def exit_on_user_error() -> Iterator[None]:
    """End the process with one line on a ``UserError``, before Hydra reports it at length."""
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(USAGE_ERROR)


def run_command(main: Callable[[], object]) -> None:
    """Run a main function; end with one line and exit code 2 on a user's mistake.

    ``HYDRA_FULL_ERROR=1`` in the environment shows the traceback instead.
    """
    for message in KNOWN_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)
    if os.environ.get("HYDRA_FULL_ERROR") == "1" and not os.environ.get("GABORSEG_ONE_LINE"):
        main()
        return
    os.environ.update(HYDRA_FULL_ERROR="1", GABORSEG_ONE_LINE="1")
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted: the same command goes on from the last epoch")
    except (UserError, HydraException, OmegaConfBaseException, OSError) as error:
        print(f"error: {_one_line(error)}", file=sys.stderr)
        sys.exit(USAGE_ERROR)


def show(renderable: object) -> None:
    """Print a table on the screen, in full width where the output is a file."""
    console = rich.get_console()
    if not console.is_terminal:
        console.width = max(console.width, 120)
    console.print(renderable)


def _one_line(error: BaseException) -> str:
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} must be given: {error.full_key}=..."
    text = " ".join(str(error).split()).partition(" Config search path:")[0]
    return text or type(error).__name__
