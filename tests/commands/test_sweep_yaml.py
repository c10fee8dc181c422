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


def test_an_unknown_sweep_is_one_line() -> None:
    with pytest.raises(UserError, match=r"got nope: .*Could not find 'sweeps/nope'$"):
        main(["nope"])
