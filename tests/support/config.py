"""Composing the real configuration in tests."""

import copy
import os
from collections.abc import Sequence
from functools import cache
from types import SimpleNamespace

from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig

from gaborseg import interface
from gaborseg.interface import CONFIGURATIONS, plain
from gaborseg.interface.configuration import find_plugins, register_resolvers

CONF = CONFIGURATIONS
PROJECT = CONF.parent
SUPPORT = PROJECT / "tests" / "support"


def compose_config(
    overrides: Sequence[str] = (), name: str = "config", *, hydra: bool = False
) -> DictConfig:
    """Return what a command composes of overrides; the same overrides are composed once."""
    return copy.deepcopy(_composed(tuple(overrides), name, hydra, os.getcwd()))


@cache
def _composed(overrides: tuple[str, ...], name: str, hydra: bool, folder: str) -> DictConfig:
    return interface.compose_config(overrides, name, hydra=hydra)


def settings_of(name: str, *overrides: str, **settings: object) -> SimpleNamespace:
    """Return the settings of a command other than ``train``, as it hands them on."""
    given = [f"{key}={value}" for key, value in settings.items()]
    return plain(compose_config([*overrides, *given], name))


def sweep_cells(overrides: Sequence[str]) -> list[list[str]]:
    """Return the choices of every run that ``python -m src.train`` makes of these overrides."""
    return copy.deepcopy(_sweep_cells(tuple(overrides)))


@cache
def _sweep_cells(overrides: tuple[str, ...]) -> list[list[str]]:
    find_plugins()
    register_resolvers()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        config = hydra.compose_config(
            "config", list(overrides), RunMode.MULTIRUN, with_log_configuration=False
        )
        assert config.hydra.mode == RunMode.MULTIRUN
        params = [f"{key}={values}" for key, values in config.hydra.sweeper.params.items()]
        parser = OverridesParser.create(config_loader=hydra.config_loader)
        (cells,) = BasicSweeper.split_arguments(
            parser.parse_overrides([*params, *overrides]), max_batch_size=None
        )
        return cells
