"""Successive halving, with a launcher that trains nothing and knows every run's value."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode

from config import CONF, register_resolvers
from gaborseg.interface import UserError
from gaborseg.interface.configuration import find_plugins
from gaborseg.sweeps import SweepFailed

RATES = "optimizer.lr=1,2,3,4,5,6,7"


def search(
    *overrides: str, values: dict[str, float], tmp_path: Path
) -> list[tuple[int | None, list[str]]]:
    """The rounds of a search: after how many epochs it compares, and which rates."""
    find_plugins()
    register_resolvers()
    rounds: list[tuple[int | None, list[str]]] = []
    with initialize_config_dir(str(CONF), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        choices = ["hydra/sweeper=halving", f"hydra.sweep.dir={tmp_path}", *overrides]
        config = hydra.compose_config("config", choices, RunMode.MULTIRUN, False)
        sweeper: Any = Plugins.instance().instantiate_sweeper(
            hydra_context=HydraContext(hydra.config_loader, callbacks=None),  # type: ignore[arg-type]
            task_function=lambda config: None,
            config=config,
        )
        launcher, plugin = sweeper.launcher, sys.modules["hydra_plugins.local_launcher"]

        def launch(runs: Sequence[Sequence[str]], initial_job_idx: int) -> list[Any]:
            rates = [run[0].partition("=")[2] for run in runs]
            rounds.append((launcher.until, rates))
            return [
                plugin.Returned(run, tmp_path / rate, values[rate])
                if rate in values
                else plugin.Failed(run, tmp_path / rate, "a run failed")
                for run, rate in zip(runs, rates, strict=True)
            ]

        launcher.launch = launch
        try:
            sweeper.sweep([o for o in overrides if not o.startswith("hydra")])
        except SweepFailed as error:
            rounds.append((None, [str(error)]))
    return rounds


def test_the_best_third_goes_on_at_every_rung(tmp_path: Path) -> None:
    values = {"1": 0.1, "2": 0.7, "3": 0.3, "4": 0.6, "5": 0.5, "6": 0.2, "7": 0.4}
    assert search(RATES, values=values, tmp_path=tmp_path) == [
        (4, ["1", "2", "3", "4", "5", "6", "7"]),
        (12, ["2", "4", "5"]),
        (None, ["2"]),
    ]


def test_a_loss_is_minimised(tmp_path: Path) -> None:
    options = [
        "hydra.sweeper.rungs=[2]",
        "hydra.sweeper.keep=2",
        "hydra.sweeper.direction=minimize",
    ]
    rounds = search("optimizer.lr=1,2", *options, values={"1": 0.1, "2": 0.7}, tmp_path=tmp_path)
    assert rounds == [(2, ["1", "2"]), (None, ["1"])]


def test_a_run_that_fails_does_not_go_on_and_is_told_at_the_end(tmp_path: Path) -> None:
    options = ["hydra.sweeper.rungs=[2]", "hydra.sweeper.keep=2"]
    rounds = search("optimizer.lr=1,2,3", *options, values={"1": 0.1, "2": 0.7}, tmp_path=tmp_path)
    assert rounds[1:] == [(None, ["2"]), (None, ["runs that failed: 1"])]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("rungs=[]", r"rungs must be whole numbers of epochs, ascending, got \[\]"),
        ("rungs=[4,2]", r"rungs must be whole numbers of epochs, ascending, got \[4, 2\]"),
        ("rungs=[0]", r"rungs must be whole numbers of epochs, ascending, got \[0\]"),
        ("rungs=[1.5]", r"rungs must be whole numbers of epochs, ascending, got \[1\.5\]"),
        ("rungs=[a]", r"rungs must be whole numbers of epochs, ascending, got \['a'\]"),
        ("keep=1", "keep must be at least 2, got 1"),
    ],
)
def test_a_wrong_setting_is_refused(setting: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        search(RATES, f"hydra.sweeper.{setting}", values={}, tmp_path=tmp_path)


def test_another_launcher_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="hydra/launcher must be local"):
        search(RATES, "hydra/launcher=basic", values={}, tmp_path=tmp_path)
