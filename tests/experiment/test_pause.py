"""A run that pauses, as a search has it do, and what a search is told of it."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from config import compose_config
from gaborseg.experiment import train
from gaborseg.interface import UserError
from tiny_cohort import write_cohort
from tiny_run import tiny_overrides

CHOICES = {"kernel": "conventional", "loss": "pcc", "experiment": "smoke"}


@pytest.fixture(scope="module")
def overrides(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return tiny_overrides(write_cohort(tmp_path_factory.mktemp("data") / "cohort"))


def config(overrides: list[str], *more: str) -> DictConfig:
    return compose_config([*overrides, *more])


def curves(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.slow
def test_a_run_that_paused_ends_as_one_that_did_not(overrides: list[str], tmp_path: Path) -> None:
    whole, paused = tmp_path / "whole", tmp_path / "paused"
    short = [*overrides, "trainer.max_epochs=2"]
    objective = train(config(short), whole, CHOICES)
    first, again = (train(config(short, "pause_after=1"), paused, CHOICES) for _ in range(2))
    dice = [float(row["val/dice"]) for row in curves(whole)]
    assert first == again == dice[0]
    assert len(curves(paused)) == 1
    assert not (paused / "done.json").exists()
    assert train(config(short), paused, CHOICES) == objective == max(dice)
    assert curves(paused) == curves(whole)
    assert (paused / "subjects.csv").read_bytes() == (whole / "subjects.csv").read_bytes()
    assert all(torch.equal(value, weights(whole)[name]) for name, value in weights(paused).items())


@pytest.mark.slow
def test_a_run_that_is_done_tells_any_objective(overrides: list[str], tmp_path: Path) -> None:
    options = ["trainer.max_epochs=1", "objective=val/dice/inner"]
    first = train(config(overrides, *options), tmp_path / "run", CHOICES)
    (row,) = curves(tmp_path / "run")
    assert first == float(row["val/dice/inner"])
    again = config(overrides, "trainer.max_epochs=1", "objective=val/loss")
    assert train(again, tmp_path / "run", CHOICES) == float(row["val/loss"])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("objective=test/dice", "on which nothing may be selected, got test/dice"),
        ("objective=val/dice/tail", "objective must be val/dice, .* got val/dice/tail"),
        ("pause_after=0", "pause_after must be a positive integer or null, got 0"),
        ("pause_after=true", "pause_after must be a positive integer or null, got True"),
    ],
)
def test_a_wrong_setting_is_refused(
    overrides: list[str], tmp_path: Path, setting: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        train(config(overrides, setting), tmp_path / "run", CHOICES)


@pytest.mark.parametrize("change", ["a subject more", "another split file"])
def test_a_run_goes_on_with_the_data_that_it_began_with(change: str, tmp_path: Path) -> None:
    root = write_cohort(tmp_path / "data")
    overrides = tiny_overrides(root)
    if change == "another split file":
        parts = {"train": ["sub-01", "sub-02"], "validation": ["sub-03"], "test": ["sub-04"]}
        (tmp_path / "split.json").write_text(json.dumps(parts))
        overrides.append(f"data.split_file={tmp_path / 'split.json'}")
    short = [*overrides, "trainer.max_epochs=2"]
    train(config(short, "pause_after=1"), tmp_path / "run", CHOICES)
    before = (tmp_path / "run/run.json").read_text()
    if change == "another split file":
        parts |= {"train": ["sub-01", "sub-04"], "test": ["sub-02"]}
        (tmp_path / "split.json").write_text(json.dumps(parts))
    else:
        shutil.copytree(root / "sub-01", root / "sub-99")
        for path in (root / "sub-99/anat").iterdir():
            path.rename(path.with_name(path.name.replace("sub-01", "sub-99")))
    with pytest.raises(
        UserError, match=r"began with other \w+ subjects: now .*bring the data back"
    ):
        train(config(short), tmp_path / "run", CHOICES)
    assert (tmp_path / "run/run.json").read_text() == before


def test_without_a_validation_there_is_nothing_to_test(
    overrides: list[str], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="no epoch was trained and validated to its end"):
        train(config(overrides, "+trainer.limit_val_batches=0"), tmp_path / "run", CHOICES)


@pytest.mark.slow
def test_a_decision_is_fitted_in_double_precision_too(overrides: list[str], tmp_path: Path) -> None:
    options = ["decision=calibrated", "precision=64-true", "trainer.max_epochs=1"]
    train(config(overrides, *options), tmp_path / "run", CHOICES)
    assert (tmp_path / "run/done.json").exists()
