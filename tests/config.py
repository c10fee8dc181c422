"""Composing the real configuration in tests."""

from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig

from src.command import register_resolvers

CONF = Path(__file__).parents[1] / "conf"


def compose_config(overrides: Sequence[str] = (), *, hydra: bool = False) -> DictConfig:
    """Return what ``python -m src.train`` composes from these overrides."""
    register_resolvers()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", list(overrides), return_hydra_config=hydra)


def sweep_cells(overrides: Sequence[str]) -> list[list[str]]:
    """Return the choices of every run that ``python -m src.train`` makes of these overrides."""
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
