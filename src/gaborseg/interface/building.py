"""Objects made from nodes of the configuration; an error names the setting that it comes from."""

import contextlib
from collections.abc import Iterator
from typing import Any

from hydra.errors import HydraException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from gaborseg.interface.blame import Settings
from gaborseg.interface.errors import UserError
from gaborseg.interface.obstacles import Obstacle, obstacle


def build(node: DictConfig | dict[str, Any], **extra: Any) -> Any:
    """Return the object that a node of the configuration describes, made from plain values.

    Args:
        node: It has a ``_target_``, a class or a function.
        extra: More arguments of it.

    Raises:
        UserError: Something cannot be imported, or does not take what it is given; the message
            names the setting.
        Obstacle: This machine lacks what the object needs.
    """
    with settings_named(node):
        return instantiate(node, _convert_="all", **extra)


def target_of(node: DictConfig) -> Any:
    """Return what a node is built with: a class, or a function.

    Raises:
        UserError: It cannot be imported.
    """
    with settings_named(node):
        try:
            return get_object(node["_target_"])
        except ImportError as error:
            raise HydraException(f"Error locating target '{node['_target_']}'") from error


@contextlib.contextmanager
def settings_named(
    node: DictConfig | dict[str, Any], otherwise: str | None = None
) -> Iterator[None]:
    """Name the setting in whatever goes wrong while the object of a node is made, or first called.

    Args:
        node: Of the configuration.
        otherwise: The argument at fault where the error does not tell any.

    Raises:
        UserError: What was raised, in one line.
        Obstacle: What was raised comes from what this machine lacks.
    """
    settings = Settings(node)
    try:
        yield
    except (UserError, Obstacle, OmegaConfBaseException):
        raise
    except Exception as error:  # whatever a class of the user's may raise
        raise obstacle(error) or UserError(settings.blamed(error, otherwise)) from error
