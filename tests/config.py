"""Composing the real configuration in tests."""

from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from src.command import folder_name

CONF = Path(__file__).parents[1] / "conf"


def compose_config(overrides: Sequence[str] = (), *, hydra: bool = False) -> DictConfig:
    """Return what ``python -m src.train`` composes from these overrides."""
    OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", list(overrides), return_hydra_config=hydra)
