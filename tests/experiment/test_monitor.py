"""Metrics of the user's own, and what chooses the best epoch, in whole runs."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch

from config import compose_config, settings_of
from gaborseg.evaluation import evaluate
from gaborseg.experiment import train
from gaborseg.experiment.checks import tell_repeats
from gaborseg.interface import UserError
from gaborseg.study.run_folders import read_run
from tiny_cohort import write_cohort
from tiny_run import tiny_overrides

CHOICES = {"kernel": "conventional", "loss": "pcc", "experiment": "smoke"}
MINE = ["+metrics.mine._target_=own_metrics.SecondIsBest", "monitor=val/mine"]
Trained = tuple[Path, float | None]


@pytest.fixture(scope="module")
def overrides(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return tiny_overrides(write_cohort(tmp_path_factory.mktemp("data") / "cohort"))


@pytest.fixture(scope="module")
def trained(overrides: list[str], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Three epochs, of which the metric says that the second is the best, and the objective."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    return folder, train(compose_config([*overrides, *MINE]), folder, CHOICES)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def epoch_kept(folder: Path) -> int:
    return int(torch.load(folder / "best.ckpt", weights_only=True)["epoch"])


def test_a_metric_has_a_value_every_epoch(trained: Trained) -> None:
    assert [float(row["val/mine"]) for row in rows(trained[0])] == [1, 0, 1]


def test_the_monitored_metric_chooses_the_epoch_that_is_kept(trained: Trained) -> None:
    assert epoch_kept(trained[0]) == 1


def test_an_objective_is_read_at_that_epoch(trained: Trained) -> None:
    folder, objective = trained
    assert objective == float(rows(folder)[1]["val/dice"])


def test_a_report_marks_that_epoch(trained: Trained) -> None:
    folder, objective = trained
    run = read_run(folder)
    assert (run.best_row, run.validation_dice) == (1, objective)


def test_the_files_of_a_run_tell_what_chose_it(trained: Trained) -> None:
    folder, _ = trained
    monitor = {"name": "val/mine", "mode": "min"}
    assert json.loads((folder / "run.json").read_text())["monitor"] == monitor
    done = json.loads((folder / "done.json").read_text())
    assert done["best"] == {**monitor, "value": 0, "epoch": 2}
    card = (folder / "model_card.md").read_text()
    assert "epoch 2 of 3, the best on the validation subjects by val/mine\n" in card


def test_a_metric_has_a_value_of_the_test(trained: Trained) -> None:
    done = json.loads((trained[0] / "done.json").read_text())
    assert done["metrics"] == {"mine": 2}


def test_a_checkpoint_holds_nothing_of_a_metric(trained: Trained) -> None:
    state = torch.load(trained[0] / "best.ckpt", weights_only=True)["state_dict"]
    assert [name for name in state if not name.startswith(("network.", "decision."))] == []


def test_an_evaluation_builds_no_metric_of_a_run(trained: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained[0], folder)
    text = (folder / "config.yaml").read_text()
    assert "own_metrics.SecondIsBest" in text
    (folder / "config.yaml").write_text(text.replace("own_metrics.SecondIsBest", "nowhere.Metric"))
    evaluate(settings_of("evaluate", run=folder, output=tmp_path / "again", device="cpu"))
    assert (tmp_path / "again" / "subjects.csv").read_text() == (
        folder / "subjects.csv"
    ).read_text()


@pytest.mark.slow
def test_a_resumed_run_keeps_its_columns_and_its_best_epoch(
    overrides: list[str], tmp_path: Path
) -> None:
    choices = [*overrides, "metrics=jaccard", "monitor=val/loss"]
    whole, paused = tmp_path / "whole", tmp_path / "paused"
    train(compose_config(choices), whole, CHOICES)
    for pause in ("2", "null"):
        train(compose_config([*choices, f"pause_after={pause}"]), paused, CHOICES)
    assert rows(paused) == rows(whole)
    assert all(0 <= float(row["val/jaccard"]) <= 1 for row in rows(whole))
    losses = [float(row["val/loss"]) for row in rows(whole)]
    assert epoch_kept(paused) == epoch_kept(whole) == losses.index(min(losses))
    best = [json.loads((folder / "done.json").read_text())["best"] for folder in (whole, paused)]
    assert best[0] == best[1]
    assert best[0]["value"] == pytest.approx(min(losses))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("monitor=test/dice", "monitor must not be a score of the test, .* got test/dice"),
        ("monitor=val/mine", "monitor must be val/dice, .* or val/loss, got val/mine"),
        ("monitor=val/dice/tail", "monitor must be val/dice, .* got val/dice/tail"),
        ("monitor=train/loss", "monitor must be val/dice, .* got train/loss"),
        ("monitor_mode=up", "monitor_mode must be max, min or null, got up"),
        ("monitor_mode=min", "monitor_mode must be max with monitor=val/dice, got min"),
        (
            "+metrics.mine._target_=own_metrics.Found monitor=val/mine",
            "monitor_mode must be given with monitor=val/mine, .* add monitor_mode=max or ",
        ),
        ("objective=val/mine", "objective must be val/dice, .* got val/mine"),
        (
            "+metrics.mine._target_=torch.nn.Identity",
            "metrics.mine must be a torchmetrics.Metric, got torch.nn.Identity",
        ),
        ("+metrics.mine=dice", "metrics.mine must be a torchmetrics.Metric, got dice"),
        ("+metrics.loss._target_=own_metrics.Found", "metrics must have names of .* got loss"),
        (
            "+metrics.mine._target_=own_metrics.Pair",
            r"metrics.mine must give one number of label maps \(1, 8, 8, 8\)",
        ),
        ("+metrics.mine._target_=own_metrics.Lost", "own_metrics.Lost"),
    ],
)
def test_what_cannot_work_is_refused_before_any_training(
    overrides: list[str], tmp_path: Path, settings: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        train(compose_config([*overrides, *settings.split()]), tmp_path / "run", CHOICES)
    assert not (tmp_path / "run" / "metrics.csv").exists()


def test_the_direction_of_a_metric_may_be_told(overrides: list[str], tmp_path: Path) -> None:
    choices = ["+metrics.mine._target_=own_metrics.Found", "monitor=val/mine", "monitor_mode=min"]
    config = compose_config([*overrides, *choices, "trainer.max_epochs=1"])
    train(config, tmp_path / "run", CHOICES)
    done = json.loads((tmp_path / "run" / "done.json").read_text())
    assert done["best"]["mode"] == "min"


@pytest.mark.parametrize(("processes", "told"), [(2, False), (4, True)])
def test_validation_subjects_that_count_repeatedly_are_told(
    processes: int, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    tell_repeats(processes, 2)
    assert ("the first of them counts 3 times in val/loss" in caplog.text) == told
