import itertools
import math
import re
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from config import PROJECT, compose_config
from gaborseg.commands.sweep_yaml import main, wandb_sweep
from gaborseg.interface import UserError

pytestmark = pytest.mark.slow

SWEEPS = sorted((PROJECT / "sweeps").glob("*.yaml"))


def cells(sweep: dict) -> list[list[str]]:
    """The settings that W&B would hand to each run, as its agent writes them."""
    values = [[(key, v) for v in p["values"]] for key, p in sweep["parameters"].items()]
    return [[f"{key}={v}" for key, v in cell] for cell in itertools.product(*values)]


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_sweep_has_as_many_cells_as_its_header_says(path: Path) -> None:
    told = re.search(r"^# Runs: (\d+)", path.read_text(), re.MULTILINE)
    assert told
    assert len(cells(wandb_sweep(path.stem))) == int(told[1])


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_the_command_of_an_agent_composes_the_cell(path: Path) -> None:
    sweep = wandb_sweep(path.stem)
    fixed = sweep["command"][4:-1]
    *_, last = cells(sweep)
    config = compose_config([*fixed, *last])
    assert "wandb" in config.logger
    for setting in last:
        key, value = setting.split("=")
        if "." in key:
            assert str(OmegaConf.select(config, key)) == value


def test_rates_are_exact_powers_of_ten() -> None:
    rates = wandb_sweep("paper_grid")["parameters"]["optimizer.lr"]["values"]
    assert [math.log10(rate) for rate in rates] == [-4, -3.5, -3, -2.5, -2]


def test_it_is_printed_as_yaml(capsys: pytest.CaptureFixture[str]) -> None:
    main(["sweeps=smoke"])
    assert yaml.safe_load(capsys.readouterr().out) == wandb_sweep("smoke")


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_a_search_maximises_validation_and_ends_bad_runs_early(method: str) -> None:
    sweep = wandb_sweep("halving", method)
    assert sweep["method"] == method
    assert sweep["metric"] == {"name": "val/dice", "goal": "maximize"}
    assert sweep["early_terminate"] == {"type": "hyperband", "min_iter": 4, "eta": 3}
    assert sweep["run_cap"] == 27


def test_a_search_draws_the_learning_rate_between_those_of_the_sweep() -> None:
    rate = wandb_sweep("halving", "bayes")["parameters"]["optimizer.lr"]
    assert rate == {"distribution": "log_uniform_values", "min": 1e-3, "max": 1e-2}
    assert wandb_sweep("halving", "bayes")["parameters"]["rates"] == {
        "values": ["equal", "tenfold", "thirtyfold"]
    }


def test_a_search_for_a_loss_minimises_it() -> None:
    sweep = wandb_sweep("halving", "bayes", ["objective=val/loss", "trainer.max_epochs=90"])
    assert sweep["metric"] == {"name": "val/loss", "goal": "minimize"}
    assert sweep["early_terminate"]["min_iter"] == 10
    assert sweep["command"][-3:-1] == ["objective=val/loss", "trainer.max_epochs=90"]


def test_what_is_typed_takes_the_place_of_the_sweeps_values() -> None:
    typed = ["split=0", "kernel=gabor,mixed", "network.dropout=0,0.2", "seed=3"]
    sweep = wandb_sweep("paper_grid", "bayes", typed)
    values = {key: p.get("values") for key, p in sweep["parameters"].items()}
    assert (values["split"], values["kernel"]) == ([0], ["gabor", "mixed"])
    assert values["network.dropout"] == [0, 0.2]
    assert sweep["run_cap"] == 2 * 3 * 5 * 2
    assert sweep["command"][6:-1] == ["seed=3"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("paper_grid method=bayes", r"bayes must not search over split, .*: add split=0, or take"),
        ("evidence_sigma method=random", r"random must not search over seed, .*: add seed=0, or"),
        ("learning_rate method=bayes optimizer.lr=1", "needs a setting with several values"),
        ("losses method=halving", "method must be one of grid, random, bayes, got halving"),
        ("halving optimizer.lr=interval(1,2)", r"must list values .*, got optimizer.lr=interval"),
    ],
)
def test_what_cannot_be_searched_is_one_line(arguments: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        main(arguments.split())


def test_an_unknown_sweep_is_one_line() -> None:
    with pytest.raises(UserError, match=r"got nope: .*Could not find 'sweeps/nope'$"):
        main(["nope"])


def test_a_sweep_of_the_users_own_keeps_its_folder_for_the_agents(tmp_path: Path) -> None:
    folder = tmp_path / "my conf"
    (folder / "sweeps").mkdir(parents=True)
    (folder / "loss").mkdir()
    (folder / "loss" / "own.yaml").write_text("_target_: gaborseg.losses.PCCLoss\n")
    params = "hydra:\n  sweeper:\n    params:\n      loss: own,dice\n"
    (folder / "sweeps" / "mine.yaml").write_text(f"# @package _global_\n{params}")
    sweep = wandb_sweep("mine", config_dir=folder)
    assert sweep["parameters"]["loss"] == {"values": ["own", "dice"]}
    assert sweep["command"][4:6] == ["--config-dir", str(folder)]


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--config-dir must be a folder that exists, got .*nope"):
        main(["--config-dir", str(tmp_path / "nope"), "mine"])


@pytest.mark.parametrize(
    ("metric", "goal"), [("HammingDistance", "minimize"), ("JaccardIndex", "maximize")]
)
def test_a_metric_of_ones_own_is_searched_in_its_direction(metric: str, goal: str) -> None:
    own = f"+metrics.own._target_=torchmetrics.classification.Multiclass{metric}"
    sweep = wandb_sweep(
        "halving", "bayes", ["objective=val/own", own, "+metrics.own.num_classes=20"]
    )
    assert sweep["metric"] == {"name": "val/own", "goal": goal}


@pytest.mark.parametrize("name", ["test/dice", "val/nothing"])
def test_a_search_looks_at_no_score_of_the_test_and_at_what_is_logged(name: str) -> None:
    with pytest.raises(UserError, match=r"^objective must"):
        wandb_sweep("halving", "bayes", [f"objective={name}"])
