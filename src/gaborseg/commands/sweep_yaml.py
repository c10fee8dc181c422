"""Convert a file in ``sweeps/`` to a W&B sweep, whose runs are started by ``wandb agent``.

    python -m src.sweep_yaml paper_grid > paper_grid.yaml
    wandb sweep --project gaborseg paper_grid.yaml

Each run of an agent equals one run of the sweep, with the settings that W&B passes to it, and its
folder is named after them.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any, cast

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gaborseg.interface import UserError, compose_config, run_command


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the sweep as YAML."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("sweep")
    name = parser.parse_args(arguments).sweep.removeprefix("sweeps=")
    try:
        text = yaml.safe_dump(wandb_sweep(name), sort_keys=False)
    except (HydraException, OmegaConfBaseException) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"sweep must name a file of sweeps/, got {name}: {reason}") from error
    sys.stdout.write(text)


def wandb_sweep(name: str) -> dict[str, Any]:
    """Return a W&B sweep over the same grid as a file of ``sweeps/``.

    Raises:
        HydraException: If there is no such file, or it cannot be composed.
    """
    config = compose_config([f"+sweeps={name}"], hydra=True)
    choices = [f"+sweeps={name}", "hydra.mode=RUN"]
    if config.hydra.runtime.choices["logger"] != "wandb":  # an agent waits for what W&B is told
        choices.append("logger=wandb")
    command = [
        "${env}",
        "${interpreter}",
        "-m",
        "gaborseg.commands.train",
        *choices,
        "${args_no_hyphens}",
    ]
    return {
        "name": name,
        "program": "gaborseg.commands.train",
        "method": "grid",
        "metric": {"name": "val/dice", "goal": "maximize"},
        "command": command,
        "parameters": {key: {"values": values} for key, values in grid(config).items()},
    }


def grid(config: DictConfig) -> dict[str, list[Any]]:
    """Return the values of every setting that a sweep varies, as plain values.

    Raises:
        UserError: It varies none.
    """
    varied = OmegaConf.select(config, "hydra.sweeper.params")
    if not isinstance(varied, DictConfig) or not varied:
        raise UserError(f"hydra.sweeper.params must map settings to values, got {varied}")
    varied = OmegaConf.to_container(varied, resolve=True)
    parser = OverridesParser.create()
    return {
        key: _values(parser, f"{key}={values}")
        for key, values in cast(dict[str, Any], varied).items()
    }


def _values(parser: OverridesParser, text: str) -> list[Any]:
    override = parser.parse_override(text)
    return [*override.sweep_iterator()] if override.is_sweep_override() else [override.value()]


def run() -> None:
    """Run the command with this process's arguments."""
    run_command(main)


if __name__ == "__main__":
    run()
