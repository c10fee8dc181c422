"""Callbacks and loggers that a configuration adds, each in a whole run."""

import csv
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from config import compose_config
from gaborseg.evaluation import evaluate
from gaborseg.experiment import train
from gaborseg.interface import UserError
from gaborseg.runs import read_scores, read_state
from tiny_cohort import write_cohort
from tiny_run import tiny_overrides

CHOICES = {"kernel": "conventional", "loss": "ccc", "experiment": "quickstart"}
Start = Callable[..., Path]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("data") / "cohort")


@pytest.fixture
def run(cohort: Path, tmp_path: Path) -> Start:
    def start(*more: str) -> Path:
        train(compose_config([*tiny_overrides(cohort), *more]), tmp_path / "run", CHOICES)
        return tmp_path / "run"

    return start


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def evaluated_again(folder: Path, output: Path) -> list[Any]:
    from config import settings_of

    evaluate(settings_of("evaluate", f"run={folder}", f"output={output}", "device=cpu"))
    return read_scores(output / "subjects.csv")


AVERAGING = ("callbacks=ema", "callbacks=swa callbacks.swa.start=1")


@pytest.mark.parametrize("choices", [*AVERAGING, "callbacks=ema decision=calibrated loss=pcc"])
def test_what_was_tested_is_what_the_best_checkpoint_holds(
    run: Start, tmp_path: Path, choices: str
) -> None:
    folder = run(*choices.split())
    scores = read_scores(folder / "subjects.csv")
    assert evaluated_again(folder, tmp_path / "again") == scores


@pytest.mark.parametrize("choices", AVERAGING)
def test_averaged_weights_go_on_after_an_interruption_as_if_there_had_been_none(
    run: Start, tmp_path: Path, choices: str
) -> None:
    whole = run(*choices.split()).rename(tmp_path / "whole")
    run(*choices.split(), "pause_after=1")
    folder = run(*choices.split())
    assert read_scores(folder / "subjects.csv") == read_scores(whole / "subjects.csv")
    weights = [torch.load(path / "last.ckpt", weights_only=True) for path in (folder, whole)]
    for name, value in weights[0]["state_dict"].items():
        torch.testing.assert_close(value, weights[1]["state_dict"][name], rtol=0, atol=0)


def test_averaging_from_an_epoch_on_is_the_mean_of_the_weights_at_their_ends(
    run: Start, tmp_path: Path
) -> None:
    raw = run("callbacks=checkpoint_every", "callbacks.checkpoint_every.every_n_epochs=1")
    kept = [weights_of(path) for path in sorted((raw / "checkpoints").iterdir())]
    assert len(kept) == 3
    raw.rename(tmp_path / "raw")
    averaged = weights_of(run("callbacks=swa", "callbacks.swa.start=1") / "last.ckpt")
    for name in averaged:
        torch.testing.assert_close(averaged[name], (kept[1][name] + kept[2][name]) / 2)


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    state = torch.load(path, weights_only=True)["state_dict"]
    return {name: value for name, value in state.items() if name.startswith("network.")}


@pytest.mark.parametrize(
    ("setting", "epochs", "reason"),
    [
        ("min_delta=1", 2, "Monitored metric val/dice did not improve in the last 1 records"),
        ("stopping_threshold=-1", 1, "Stopping threshold reached: val/dice = "),
    ],
    ids=["late", "at once"],
)
def test_a_run_that_stops_early_says_so_and_stays_stopped(
    run: Start, setting: str, epochs: int, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    choices = ["callbacks=early_stopping", "callbacks.early_stopping.patience=1"]
    choices += [f"++callbacks.early_stopping.{setting}", "trainer.max_epochs=9"]
    with caplog.at_level(logging.INFO):
        folder = run(*choices)
    told = outcome(folder)
    assert told["epochs"] == len(rows(folder)) == epochs
    assert told["stopped_early"]["reason"].startswith(reason)
    line = f"stopped early after epoch {epochs} of 9 by EarlyStopping: {reason}"
    assert f"The training was {line}" in caplog.text
    assert read_state(folder).early_end.startswith(line)
    for name in ("done.json", "subjects.csv"):
        (folder / name).unlink()
    run(*choices)
    assert outcome(folder)["stopped_early"] == told["stopped_early"]
    assert len(rows(folder)) == epochs


def outcome(folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder / "done.json").read_text())
    return told


class Impatient(Callback):
    """Stops after the first epoch, and does not say why."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = True


def test_a_callback_of_the_users_own_that_stops_a_run_is_named(
    run: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytorch_lightning.callbacks.Timer", Impatient)
    told = outcome(run("+callbacks.mine._target_=pytorch_lightning.callbacks.Timer"))
    assert told["stopped_early"] == {"epoch": 1, "epochs": 3, "by": "Impatient", "reason": ""}


def test_the_learning_rate_is_logged_by_lightnings_monitor_too(run: Start) -> None:
    for row in rows(run("callbacks=lr_monitor")):
        assert float(row["lr-NAdam"]) == pytest.approx(float(row["lr"]))


class Meddling(Callback):
    """Changes the weights after a test subject."""

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *arguments: Any
    ) -> None:
        for parameter in pl_module.parameters():
            parameter.data += 1


def test_a_callback_that_changes_what_is_tested_is_told(
    run: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytorch_lightning.callbacks.Timer", Meddling)
    with pytest.raises(UserError, match=r"callbacks must not change the weights in the test: "):
        run("+callbacks.mine._target_=pytorch_lightning.callbacks.Timer")


def test_any_logger_of_lightning_writes_to_the_run_folder(run: Start) -> None:
    folder = run("+logger.mine._target_=pytorch_lightning.loggers.CSVLogger", "+logger.mine.name=m")
    assert "val/dice" in (folder / "m" / "version_0" / "metrics.csv").read_text()
    assert len(rows(folder)) == 3


def test_tensorboard_finds_the_curves_in_the_run_folder(run: Start) -> None:
    folder = run("logger=tensorboard") / "tensorboard"
    events = EventAccumulator(str(folder)).Reload()
    dice = [float(row["val/dice"]) for row in rows(folder.parent)]
    assert [event.value for event in events.Scalars("val/dice")] == pytest.approx(dice)


def test_a_package_that_a_logger_needs_is_named_with_the_remedy(
    run: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[tensorboard\]' in a clone"):
        run("logger=tensorboard")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+logger.mine._target_=torch.nn.Identity", "logger must hold Lightning's loggers, got"),
        ("+callbacks.mine._target_=torch.nn.Identity", "callbacks must hold Lightning's callbacks"),
        (
            "callbacks=early_stopping callbacks.early_stopping.monitor=val/dicee",
            "^callbacks.early_stopping.monitor must be val/dice, val/dice/STRUCTURE, .* got val/di",
        ),
        (
            "callbacks=early_stopping callbacks.early_stopping.monitor=val/loss",
            "^callbacks.early_stopping.mode must be min for monitor=val/loss, got max$",
        ),
        (
            "callbacks=early_stopping callbacks.early_stopping.monitor=val/dice/hipocampus",
            "^callbacks.early_stopping.monitor must be val/dice, .* got val/dice/hipocampus",
        ),
        (
            "callbacks=early_stopping callbacks.early_stopping.monitor=test/dice",
            "^callbacks.early_stopping.monitor must not be a score of the test, .*: use val/dice",
        ),
    ],
)
def test_a_logger_or_callback_that_cannot_work_is_refused(
    run: Start, override: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run(*override.split())
