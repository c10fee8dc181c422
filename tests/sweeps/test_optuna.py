"""A search by Optuna, with a launcher that trains nothing: a run's value is its learning rate."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode
from omegaconf import OmegaConf

from config import CONF, register_resolvers
from gaborseg.interface.configuration import find_plugins

pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
SPACE = "optimizer.lr=tag(log,interval(1e-4,1e-2))"


def search(folder: Path, *settings: str) -> list[float]:
    """The learning rates that a search proposes, in their order."""
    find_plugins()
    register_resolvers()
    rates: list[float] = []
    with initialize_config_dir(str(CONF), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        choices = ["hydra/sweeper=optuna", f"hydra.sweep.dir={folder}", *settings]
        config = hydra.compose_config("config", [*choices, SPACE], RunMode.MULTIRUN, False)
        sweeper: Any = Plugins.instance().instantiate_sweeper(
            hydra_context=HydraContext(hydra.config_loader, callbacks=None),  # type: ignore[arg-type]
            task_function=lambda config: None,
            config=config,
        )
        plugin = sys.modules["hydra_plugins.local_launcher"]

        def launch(runs: Sequence[Sequence[str]], initial_job_idx: int) -> list[Any]:
            found = [float(run[0].partition("=")[2]) for run in runs]
            rates.extend(found)
            return [plugin.Returned(*pair) for pair in zip(runs, [folder] * 9, found, strict=False)]

        sweeper.sweeper.launcher.launch = launch
        folder.mkdir(exist_ok=True)
        sweeper.sweep([SPACE])
    return rates


def test_the_best_run_is_the_one_of_the_highest_objective(tmp_path: Path) -> None:
    rates = search(tmp_path, "hydra.sweeper.n_trials=5")
    told = OmegaConf.load(tmp_path / "optimization_results.yaml")
    assert told.best_value == told.best_params["optimizer.lr"] == max(rates)


def test_a_larger_search_begins_with_the_trials_of_the_smaller(tmp_path: Path) -> None:
    few, many = (search(tmp_path / n, f"hydra.sweeper.n_trials={n}") for n in ("3", "5"))
    assert len(set(many)) == 5
    assert many[:3] == few
