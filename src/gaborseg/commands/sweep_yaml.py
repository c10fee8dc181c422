"""Convert a file in ``sweeps/`` to a W&B sweep, whose runs are started by ``wandb agent``.

    python -m src.sweep_yaml paper_grid > grid.yaml               # all combinations of the sweep
    python -m src.sweep_yaml halving method=bayes > search.yaml   # a search among its settings
    python -m src.sweep_yaml paper_grid method=bayes kernel=gabor split=0 > gabor.yaml

``wandb sweep --project gaborseg search.yaml`` creates the sweep; ``--config-dir conf`` brings
options and sweeps of your own. Each run of an agent equals one run of the sweep, with the settings
that W&B passes to it, and its folder is named after them. ``method=`` is grid (all combinations),
random or bayes: these two maximise the validation score that ``objective=`` names, draw the
learning rate between the lowest and the highest of the sweep, start as many runs as the grid has,
and end bad runs early. Any other setting takes the place of the sweep's.
"""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gaborseg.interface import (
    UserError,
    compose_config,
    mistakes_as_user_errors,
    own_mode,
    run_command,
)
from gaborseg.runs import check_objective

_GRID = "grid"
_METHODS = (_GRID, "random", "bayes")
_RATE = "optimizer.lr"
_REPLICATES = ("split", "seed", "data.seed")
_ETA = 3  # one run in so many goes on at each comparison, as in hydra/sweeper=halving

_Values = dict[str, list[Any]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the sweep as YAML."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("sweep")
    parser.add_argument("settings", nargs="*")
    parser.add_argument("--config-dir", type=Path)
    told = parser.parse_args(arguments)
    name = told.sweep.removeprefix("sweeps=")
    chosen = [text for text in told.settings if text.startswith("method=")]
    others = [text for text in told.settings if text not in chosen]
    method = chosen[-1].partition("=")[2] if chosen else _GRID
    try:
        sweep = wandb_sweep(name, method, others, told.config_dir)
        text = yaml.safe_dump(sweep, sort_keys=False)
    except (HydraException, OmegaConfBaseException) as error:
        reason = str(error).splitlines()[0]
        said = " ".join([name, *others])
        raise UserError(f"sweep must name a file of sweeps/, got {said}: {reason}") from error
    sys.stdout.write(text)


def wandb_sweep(
    name: str,
    method: str = _GRID,
    settings: Sequence[str] = (),
    config_dir: Path | None = None,
) -> dict[str, Any]:
    """Return a W&B sweep over the settings that a file of ``sweeps/`` varies.

    Args:
        name: Of the file.
        method: How W&B chooses the settings of the next run: ``"grid"``, ``"random"``, ``"bayes"``.
        settings: Overrides of the sweep, as for ``python -m src.train``.
        config_dir: A folder of options and sweeps of the user's own.

    Raises:
        HydraException: If there is no such file, or it cannot be composed.
        UserError: If there is no such method, or it makes no sense for this sweep.
    """
    if method not in _METHODS:
        raise UserError(f"method must be one of {', '.join(_METHODS)}, got {method}")
    if config_dir is not None and not config_dir.is_dir():
        raise UserError(f"--config-dir must be a folder that exists, got {config_dir}")
    places = [] if config_dir is None else [f"hydra.searchpath=['file://{config_dir.absolute()}']"]
    varied = _varied(name, settings, places)
    fixed = [text for text in settings if text.partition("=")[0] not in varied]
    config = compose_config([f"+sweeps={name}", *fixed, *places], hydra=True)
    search = {} if method == _GRID else _search(config, method, varied)
    return {
        "name": name,
        "program": "gaborseg.commands.train",
        "method": method,
        "metric": _metric(config),
        **search,
        "command": _command(name, fixed, config, config_dir),
        "parameters": {key: _parameter(key, varied[key], method) for key in varied},
    }


def _varied(name: str, settings: Sequence[str], places: Sequence[str]) -> _Values:
    """Return the values of every setting that varies, in the sweep or in what was typed.

    Raises:
        UserError: The sweep varies none.
    """
    config = compose_config([f"+sweeps={name}", *places], hydra=True)
    varied = OmegaConf.select(config, "hydra.sweeper.params")
    if not isinstance(varied, DictConfig) or not varied:
        raise UserError(f"hydra.sweeper.params must map settings to values, got {varied}")
    params = OmegaConf.to_container(varied, resolve=True)
    texts = {key: f"{key}={values}" for key, values in cast(dict[str, Any], params).items()}
    parser = OverridesParser.create()
    for text in settings:
        key = text.partition("=")[0]
        if key in texts or parser.parse_override(text).is_sweep_override():
            texts[key] = text
    return {key: _values(parser, text) for key, text in texts.items()}


def _values(parser: OverridesParser, text: str) -> list[Any]:
    override = parser.parse_override(text)
    if override.is_interval_sweep():
        raise UserError(f"settings must list values of which W&B takes the range, got {text}")
    return [*override.sweep_iterator()] if override.is_sweep_override() else [override.value()]


def _command(
    name: str, fixed: Sequence[str], config: DictConfig, config_dir: Path | None
) -> list[str]:
    """Return what an agent starts, with W&B's own words for what only the agent knows."""
    choices = [f"+sweeps={name}", "hydra.mode=RUN", *fixed]
    if config.hydra.runtime.choices["logger"] != "wandb":  # an agent waits for what W&B is told
        choices.append("logger=wandb")
    start = ["${env}", "${interpreter}", "-m", "gaborseg.commands.train"]
    places = [] if config_dir is None else ["--config-dir", str(config_dir.absolute())]
    return [*start, *places, *choices, "${args_no_hyphens}"]


def _metric(config: DictConfig) -> dict[str, str]:
    """Return what W&B is to compare runs by.

    Raises:
        UserError: It is a score of the test, nothing logs it, or its direction is unknown.
    """
    name = config.objective
    with mistakes_as_user_errors():
        check_objective(name, metrics=config.metrics)
    own = str(name).removeprefix("val/") in config.metrics
    mode = own_mode(config, name) if own else "min" if str(name).endswith("/loss") else "max"
    if mode is None:
        raise UserError(
            f"objective must be a metric whose class says higher_is_better for W&B, got {name}"
        )
    return {"name": name, "goal": {"min": "minimize", "max": "maximize"}[mode]}


def _search(config: DictConfig, method: str, varied: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Return how many runs a search has, and after how many epochs it ends bad ones.

    Raises:
        UserError: If there is nothing to search among, or what varies only repeats runs.
    """
    several = [key for key, values in varied.items() if len(values) > 1]
    if repeated := [key for key in several if key in _REPLICATES]:
        raise UserError(
            f"method={method} must not search over {repeated[0]}, which repeats a run and improves "
            f"nothing: add {repeated[0]}={varied[repeated[0]][0]}, or take method={_GRID}"
        )
    if not several:
        raise UserError(f"method={method} needs a setting with several values, got none")
    epochs = max(1, config.trainer.max_epochs // _ETA**2)
    return {
        "run_cap": math.prod(len(values) for values in varied.values()),
        "early_terminate": {"type": "hyperband", "min_iter": epochs, "eta": _ETA},
    }


def _parameter(key: str, values: list[Any], method: str) -> dict[str, Any]:
    """Return from where W&B takes a setting: a learning rate that is searched from a range."""
    if method != _GRID and key == _RATE and len(values) > 1:
        return {"distribution": "log_uniform_values", "min": min(values), "max": max(values)}
    return {"values": values}


def run() -> None:
    """Run the command with this process's arguments."""
    run_command(main)


if __name__ == "__main__":
    run()
