import csv
import json
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from omegaconf import DictConfig
from PIL import Image
from pytorch_lightning.trainer.connectors.logger_connector.logger_connector import (
    _LoggerConnector,
)
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from config import PROJECT, compose_config
from gaborseg.experiment import run as experiment
from gaborseg.interface import UserError, build
from gaborseg.losses import CCCLoss
from gaborseg.models import load_trained
from gaborseg.networks import NNUNet
from gaborseg.pictures import Example, draw_example
from gaborseg.runs import Monitor, Score, read_scores, subject_means
from gaborseg.training import SegmentationModule, testing
from tiny_cohort import SHAPE, write_cohort, write_nifti
from tiny_run import tiny_overrides
from warm import Command

MARKS = {"origin", "weights_digest"}
"""What checkpoints of earlier versions do not tell."""
CHOICES = {  # as the command would hand them on, but for the loss
    "kernel": "conventional",
    "loss": "ccc",
    "data": "folder",
    "network": "vnet_ds_tiny",
    "augmentation": "paper",
    "trainer": "cpu",
    "experiment": "smoke",
}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("data") / "cohort")


@pytest.fixture
def overrides(cohort: Path) -> list[str]:
    return tiny_overrides(cohort)


@pytest.fixture
def run(overrides: list[str], tmp_path: Path) -> Callable[..., Path]:
    def start(*more: str, folder: str = "run") -> Path:
        experiment.train(compose_config([*overrides, *more]), tmp_path / folder, CHOICES)
        return tmp_path / folder

    return start


@pytest.fixture(scope="module")
def finished(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, to be read only."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    experiment.train(compose_config(tiny_overrides(cohort)), folder, CHOICES)
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, where ``run`` would leave its own."""
    return shutil.copytree(finished, tmp_path / "run")


def metrics(folder: Path) -> list[dict[str, str]]:
    """All that is reproducible in metrics.csv: everything but the seconds."""
    with (folder / "metrics.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def test_a_run_leaves_everything_in_its_folder(finished: Path) -> None:
    assert {path.name for path in finished.iterdir()} == {
        "best.ckpt",
        "config.yaml",
        "done.json",
        "example.png",
        "last.ckpt",
        "metrics.csv",
        "model_card.md",
        "predictions",
        "run.json",
        "subjects.csv",
    }


@pytest.mark.slow
def test_the_example_is_the_median_subject(
    run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    titles = []

    def draw(path: Path, example: Example, title: str) -> None:
        draw_example(path, example, title)
        titles.append(title)

    monkeypatch.setattr(testing, "draw_example", draw)
    folder = run()
    dice = {
        name: means.dice
        for name, means in subject_means(read_scores(folder / "subjects.csv")).items()
    }
    median = sorted(dice, key=dice.__getitem__)[len(dice) // 2]
    assert titles == [f"{median}: Dice {100 * dice[median]:.0f} %"]
    assert Image.open(folder / "example.png").size == (900, 900)


def test_metrics_have_a_row_an_epoch_and_a_column_a_structure(finished: Path) -> None:
    rows = metrics(finished)
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    wanted = {"train/loss", "val/loss", "val/dice", "val/dice/inner", "val/dice/outer", "lr"}
    assert wanted <= set(rows[0])
    assert all(value for row in rows for value in row.values())


def test_done_holds_the_mean_of_the_subjects(finished: Path) -> None:
    rows = read_scores(finished / "subjects.csv")
    record = json.loads((finished / "done.json").read_text())
    assert record["test_dice"] == pytest.approx(sum(row.dice for row in rows) / len(rows))
    assert record["test_hd95"] == pytest.approx(sum(row.hd95 for row in rows) / len(rows))
    assert record["test_nsd"] == pytest.approx(sum(row.nsd for row in rows) / len(rows))
    assert record["nsd_tolerance"] == 2
    assert len(rows) == 2 * record["test_subjects"]


def test_done_holds_what_the_run_has_cost(finished: Path) -> None:
    record = json.loads((finished / "done.json").read_text())
    assert 0 < record["seconds_per_step"] < record["seconds_of_this_session"]
    assert record["peak_memory_bytes"] > 2**20
    assert isinstance(record["device"], str)


def test_the_record_says_what_was_run(finished: Path) -> None:
    record = json.loads((finished / "run.json").read_text())
    assert record["name"].startswith("conventional-ccc-lr0.01-split0-experiment=smoke-")
    assert record["data"]["structures"] == ["inner", "outer"]
    assert sum(len(part) for part in record["data"]["split"].values()) == 6
    assert [session["torch"] for session in record["sessions"]] == [torch.__version__]
    assert record["parameters"]["total"] == sum(
        count for kind, count in record["parameters"].items() if kind != "total"
    )
    assert yaml.safe_load((finished / "config.yaml").read_text())["optimizer"]["lr"] == 0.01


@pytest.mark.parametrize("variable", ["RANK", "LOCAL_RANK", "SLURM_PROCID"])
def test_a_rank_that_is_left_in_the_environment_loses_nothing(
    variable: str, run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1")
    monkeypatch.setattr(rank_zero_only, "rank", 1)  # what Lightning makes of it when it is imported
    folder = run(folder=f"of {variable}")
    assert (folder / "done.json").is_file()
    assert len(metrics(folder)) == 3


def test_checkpoints_are_plain_and_of_the_right_epochs(finished: Path) -> None:
    dice = [float(row["val/dice"]) for row in metrics(finished)]
    best = torch.load(finished / "best.ckpt", weights_only=True)
    last = torch.load(finished / "last.ckpt", weights_only=True)
    assert best["epoch"] == dice.index(max(dice))
    assert last["epoch"] == 2


def test_the_same_seed_gives_the_same_numbers(finished: Path, run: Callable[..., Path]) -> None:
    again = run()
    assert metrics(finished) == metrics(again)
    assert read_scores(finished / "subjects.csv") == read_scores(again / "subjects.csv")


@pytest.mark.slow
def test_another_seed_gives_other_numbers(finished: Path, run: Callable[..., Path]) -> None:
    assert metrics(finished) != metrics(run("seed=1"))


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(finished: Path, run: Callable[..., Path]) -> None:
    assert metrics(finished) == metrics(run("data.num_workers=2"))


@pytest.mark.slow
def test_a_run_that_broke_off_ends_as_if_it_had_not(
    finished: Path, run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, calls = SegmentationModule.training_step, iter(range(100))

    def break_off(self: SegmentationModule, *arguments: object) -> object:
        if next(calls) == 5:  # three subjects are trained with: the middle of the second epoch
            raise KeyboardInterrupt
        return step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(SegmentationModule, "training_step", break_off)
        with pytest.raises(KeyboardInterrupt):
            run()
    assert not (tmp_path / "run" / "done.json").exists()
    broken = run()
    assert metrics(broken) == metrics(finished)
    assert read_scores(broken / "subjects.csv") == read_scores(finished / "subjects.csv")


@pytest.mark.slow
def test_a_run_that_is_killed_after_its_checkpoint_keeps_the_epochs_metrics(
    finished: Path, run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_over, calls = _LoggerConnector.update_train_epoch_metrics, iter(range(100))

    def break_off(self: _LoggerConnector) -> None:
        if next(calls) == 1:  # the second epoch, whose checkpoint is written
            raise KeyboardInterrupt
        hand_over(self)

    with monkeypatch.context() as patch:
        patch.setattr(_LoggerConnector, "update_train_epoch_metrics", break_off)
        with pytest.raises(KeyboardInterrupt):
            run()
    assert torch.load(tmp_path / "run/last.ckpt", weights_only=True)["epoch"] == 1
    assert metrics(run()) == metrics(finished)


@pytest.mark.slow
def test_a_training_that_was_stopped_stays_stopped(
    run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    step = SegmentationModule.training_step

    def diverge(self: SegmentationModule, *arguments: object) -> object:
        loss = step(self, *arguments)
        return loss * float("nan") if self.current_epoch == 1 else loss

    monkeypatch.setattr(SegmentationModule, "training_step", diverge)
    folder = run()
    rows = metrics(folder)
    assert len(rows) == 2
    (folder / "done.json").unlink()  # as if it had been killed in its test
    assert metrics(run()) == rows


@pytest.mark.usefixtures("copied")
def test_a_run_that_another_process_has_finished_meanwhile_is_shown(
    run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([False, True])
    monkeypatch.setattr(experiment.Run, "done", property(lambda self: next(answers)))
    monkeypatch.setattr(experiment, "build_trainer", None)
    run()


def test_a_finished_run_is_shown_not_trained_again(
    copied: Path, run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.stat().st_mtime_ns for path in copied.iterdir()}
    monkeypatch.setattr(experiment, "build_trainer", None)
    run()
    assert {path: path.stat().st_mtime_ns for path in copied.iterdir()} == before


def test_a_folder_of_other_settings_is_left_alone(copied: Path, run: Callable[..., Path]) -> None:
    before = (copied / "metrics.csv").read_bytes()
    with pytest.raises(UserError, match=r"other settings \(optimizer.lr: 0.01 -> 0.02\)"):
        run("optimizer.lr=2e-2")
    assert (copied / "metrics.csv").read_bytes() == before


@pytest.mark.slow
def test_a_wrong_command_does_not_spoil_the_folder_for_the_right_one(
    run: Callable[..., Path],
) -> None:
    with pytest.raises(UserError, match="groups=3"):
        run("network.groups=3")
    assert (run() / "done.json").exists()


@pytest.mark.parametrize(
    ("damaged", "then"),
    [
        (["last.ckpt"], "the training goes on from best.ckpt"),
        (["best.ckpt"], "the training starts anew"),
        (["last.ckpt", "best.ckpt"], "the training starts anew"),
    ],
)
def test_a_damaged_checkpoint_costs_epochs_not_results(
    copied: Path,
    run: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
    damaged: list[str],
    then: str,
) -> None:
    wanted = metrics(copied), (copied / "subjects.csv").read_bytes()
    (copied / "done.json").unlink()
    for name in damaged:
        damage(copied / name)
    run()
    assert f"damaged in {copied}: {' and '.join(damaged)}; {then}" in caplog.text
    assert (metrics(copied), (copied / "subjects.csv").read_bytes()) == wanted


def damage(path: Path) -> None:
    """Write over a kilobyte in the middle: the file's list of contents, at its end, stays whole."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * 1024)


@pytest.fixture(scope="module")
def other(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of another seed, to be read only."""
    folder = tmp_path_factory.mktemp("other") / "run"
    experiment.train(compose_config([*tiny_overrides(cohort), "seed=1"]), folder, CHOICES)
    return folder


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
def test_a_checkpoint_of_another_run_is_refused_and_left_alone(
    copied: Path, other: Path, run: Callable[..., Path], name: str
) -> None:
    (copied / "done.json").unlink()
    shutil.copy(other / name, copied / name)
    with pytest.raises(UserError, match=f"{name} must be of the run in its folder"):
        run()
    assert (copied / name).read_bytes() == (other / name).read_bytes()


def test_a_best_checkpoint_that_is_gone_is_trained_again(
    copied: Path, run: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    wanted = metrics(copied), (copied / "subjects.csv").read_bytes()
    (copied / "done.json").unlink()
    (copied / "best.ckpt").unlink()
    run()
    assert f"missing in {copied}: best.ckpt; the training starts anew" in caplog.text
    assert (metrics(copied), (copied / "subjects.csv").read_bytes()) == wanted


@pytest.mark.slow
def test_weights_that_were_altered_are_trained_again(
    copied: Path, run: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    wanted = (copied / "subjects.csv").read_bytes()
    (copied / "done.json").unlink()
    checkpoint = torch.load(copied / "best.ckpt", weights_only=True)
    next(iter(checkpoint["state_dict"].values())).view(-1)[0] += 1
    torch.save(checkpoint, copied / "best.ckpt")
    run()
    assert f"damaged in {copied}: best.ckpt; the training starts anew" in caplog.text
    assert (copied / "subjects.csv").read_bytes() == wanted


def test_a_best_checkpoint_that_is_lost_during_the_training_is_told(
    run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit_and_lose(*arguments: object) -> None:
        fit(*arguments)
        (tmp_path / "run" / "best.ckpt").unlink()

    fit = experiment._fit
    monkeypatch.setattr(experiment, "_fit", fit_and_lose)
    with pytest.raises(UserError, match=r"best\.ckpt is missing or damaged: put a copy of it back"):
        run()


@pytest.mark.slow
def test_checkpoints_of_before_are_gone_on_with(copied: Path, run: Callable[..., Path]) -> None:
    wanted = (copied / "subjects.csv").read_bytes()
    (copied / "done.json").unlink()
    for name in ("last.ckpt", "best.ckpt"):
        checkpoint = torch.load(copied / name, weights_only=True)
        torch.save({k: checkpoint[k] for k in checkpoint.keys() - MARKS}, copied / name)
    last = (copied / "last.ckpt").read_bytes()
    run()
    assert (copied / "subjects.csv").read_bytes() == wanted
    assert (copied / "last.ckpt").read_bytes() == last


def test_scores_that_are_cut_are_told_and_made_again(
    copied: Path, run: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    wanted = (copied / "subjects.csv").read_bytes()
    (copied / "subjects.csv").write_bytes(wanted[: len(wanted) // 2])
    run()
    assert f"{copied}: subjects.csv" in caplog.text
    assert "the run is tested again" in caplog.text
    assert (copied / "subjects.csv").read_bytes() == wanted


@pytest.mark.parametrize(("rows", "lost"), [(0, "3 of 3 epochs, from epoch 1"), (2, "1 of 3")])
def test_training_curves_that_are_lost_are_told(
    copied: Path, run: Callable[..., Path], caplog: pytest.LogCaptureFixture, rows: int, lost: str
) -> None:
    (copied / "done.json").unlink()
    lines = (copied / "metrics.csv").read_text().splitlines(keepends=True)
    (copied / "metrics.csv").write_text("".join(lines[: 1 + rows]))
    run()
    assert f"{copied / 'metrics.csv'} has lost {lost}" in caplog.text


def test_a_finished_run_without_its_configuration_is_not_one_of_other_settings(
    copied: Path, run: Callable[..., Path]
) -> None:
    (copied / "config.yaml").unlink()
    run()
    with pytest.raises(UserError, match="holds a run with other settings"):
        run("optimizer.lr=2e-2")


@pytest.mark.slow
def test_a_full_disk_ends_a_run_and_spoils_nothing(
    finished: Path, run: Callable[..., Path], tmp_path: Path
) -> None:
    size = (finished / "last.ckpt").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    full = tmp_path / "run"
    assert "File too large" in json.loads((full / "failed.json").read_text())["error"]
    assert not [
        path.name for path in full.iterdir() if path.suffix == ".ckpt" or "ckpt." in path.name
    ]
    run()
    assert metrics(full) == metrics(finished)
    assert not (full / "failed.json").exists()


def test_what_a_killed_session_left_half_written_is_removed(
    copied: Path, run: Callable[..., Path]
) -> None:
    leftover = copied / ".partial-4242-last.ckpt"
    (copied / "done.json").unlink()
    leftover.write_bytes(b"half")
    run()
    assert not leftover.exists()


@pytest.mark.slow
def test_a_folder_that_another_process_works_on_is_refused(
    run: Callable[..., Path], tmp_path: Path
) -> None:
    code = "import time; from pathlib import Path; from gaborseg.runs import locked\n"
    code += f"with locked(Path({str(tmp_path / 'run')!r})): print(flush=True); time.sleep(60)"
    words = [sys.executable, "-c", code]
    with subprocess.Popen(words, cwd=PROJECT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(UserError, match=f"run is in use by process {process.pid} on"):
            run()
        process.kill()
    assert (run() / "done.json").exists()


def test_a_moved_folder_remembers_its_best_epoch(copied: Path, run: Callable[..., Path]) -> None:
    moved = copied.rename(copied.with_name("there"))
    (moved / "done.json").unlink()
    best = (moved / "best.ckpt").read_bytes()
    state = torch.load(moved / "last.ckpt", weights_only=True)["callbacks"]
    scores = [s["best_model_score"] for k, s in state.items() if "val/dice" in k]
    run_there = experiment.describe_run(compose_config(), moved, CHOICES)
    checkpoint = experiment.checkpoints(run_there, Monitor())[0]
    checkpoint.load_state_dict(next(s for k, s in state.items() if "val/dice" in k))
    assert checkpoint.best_model_score == scores[0]
    assert checkpoint.best_model_path == str(moved / "best.ckpt")
    run(folder="there")
    assert (moved / "best.ckpt").read_bytes() == best


@pytest.mark.usefixtures("copied")
def test_the_number_of_workers_may_change_between_sessions(run: Callable[..., Path]) -> None:
    run("data.num_workers=1")


def test_a_run_that_diverges_is_still_tested(
    run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, calls = CCCLoss.forward, iter(range(100))

    def diverge(self: CCCLoss, *arguments: torch.Tensor) -> torch.Tensor:
        return forward(self, *arguments) * (math.nan if next(calls) > 5 else 1)

    monkeypatch.setattr(CCCLoss, "forward", diverge)
    folder = run("loss=ccc", "trainer.max_epochs=5")
    assert (folder / "done.json").exists()
    assert len(metrics(folder)) == 2


def test_a_run_that_diverges_at_once_is_tested_and_told(
    run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def diverge(self: CCCLoss, *arguments: torch.Tensor) -> torch.Tensor:
        return forward(self, *arguments) * math.nan

    forward = CCCLoss.forward
    monkeypatch.setattr(CCCLoss, "forward", diverge)
    folder = run("loss=ccc")
    assert json.loads((folder / "done.json").read_text())["test_dice"] == 0
    assert f"the training has diverged: weights of {folder / 'best.ckpt'} are not" in caplog.text
    assert "logits of a test subject are not finite" in caplog.text


@pytest.mark.slow
def test_the_calibrated_decision_travels_in_the_checkpoint(run: Callable[..., Path]) -> None:
    folder = run("decision=calibrated", "loss=pcc", "data.num_workers=1")
    state = torch.load(folder / "best.ckpt", weights_only=True)["state_dict"]
    assert state["decision.scale"].shape == (3,)
    assert not torch.equal(state["decision.scale"], torch.ones(3))


def test_counts_that_contradict_the_data_are_refused(run: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match=r"network.num_classes must be 3, as in the data, got 5"):
        run("network.num_classes=5")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.lr=-1", "optimizer.lr must be a positive number, got -1"),
        ("optimizer.lr=nan", "optimizer.lr must be a positive number, got nan"),
        ("optimizer.lr=fast", "optimizer.lr must be a positive number, got fast"),
        ("optimizer.lr=true", "optimizer.lr must be a positive number, got True"),
        ("seed=-1", "seed must be an integer from 0"),
        ("seed=true", "seed must be an integer from 0 .*, got True"),
        ("trainer.max_epochs=0", "trainer.max_epochs must be a positive integer, got 0"),
        ("kernel.conventional.kernel_size=4", "kernel_size must be odd and positive, got 4"),
        ("network.groups=3", "channels must be divisible by groups=3, got .4, 4, 4, 4, 8."),
        ("trainer=gpu", "trainer.accelerator=gpu cannot be used"),
        ("data.augment_on=gpu", "needs a training on a CUDA GPU, got trainer.accelerator=cpu on"),
        ("compile=fast", "compile must be null, default, reduce-overhead, max-autotune, got fast"),
        ("data.augment_on=card", "augment_on must be cpu or gpu, got 'card'"),
        ("data.root=/nowhere", "/nowhere"),
        ("scheduler.warmup=2", r"warmup must be in \(0, 1\), got 2"),
        ("data.batch_size=0", "batch_size must be a whole number of at least 1, got 0"),
        ("data.batch_size=1.5", "batch_size must be a whole number of at least 1, got 1.5"),
        ("data.num_workers=1.5", "num_workers must be a whole number of at least 0, got 1.5"),
        ("data.seed=-1", "seed must be a whole number of at least 0, got -1"),
        ("+trainer.logger=false", "trainer.logger must not be set: choose loggers with logger="),
        ("+trainer.callbacks=[]", "trainer.callbacks must not be set: .* with callbacks="),
        (
            "+trainer.default_root_dir=a",
            "trainer.default_root_dir must not be set: .*hydra.run.dir",
        ),
        ("+trainer.fast_dev_run=true", "trainer.fast_dev_run must be false: .*experiment=smoke"),
        (
            "+trainer.check_val_every_n_epoch=2",
            "check_val_every_n_epoch must be 1, got 2: the best",
        ),
        ("+loss.weight=3", "^loss.weight must be an argument of gaborseg.losses.PCCLoss, got 3: "),
        ("split=9", "split"),
        ("split=true", r"split must be 0\.\.4, got True"),
        ("data.cache='a\udcff'", r"data.cache must be UTF-8, got a\\udcff: rename the file"),
    ],
)
def test_mistakes_are_one_line_before_training(
    run: Callable[..., Path], override: str, message: str
) -> None:
    if override == "trainer=gpu" and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UserError, match=message) as error:
        run(override)
    assert "\n" not in str(error.value)


def test_healthy_controls_are_trained_on_and_tested(
    run: Callable[..., Path], tmp_path: Path
) -> None:
    root = write_cohort(tmp_path / "controls", num_subjects=8)
    controls = ["sub-02", "sub-04"]
    for name in controls:
        write_nifti(root / name / "anat" / f"{name}_dseg.nii.gz", np.zeros(SHAPE, np.uint8))
    parts = {"train": ["sub-01", "sub-02"], "validation": ["sub-03"]}
    parts["test"] = ["sub-04", "sub-05", "sub-06", "sub-07", "sub-08"]
    (tmp_path / "split.json").write_text(json.dumps(parts))
    folder = run(f"data.root={root}", f"data.split_file={tmp_path / 'split.json'}")
    rows = [row for row in read_scores(folder / "subjects.csv") if row.subject == "sub-04"]
    assert [row.true_volume for row in rows] == [0, 0]
    assert all(math.isnan(row.dice) or row.dice == 0 for row in rows)
    assert 0 <= json.loads((folder / "done.json").read_text())["test_dice"] <= 1


def command(overrides: list[str], folder: Path) -> Command:
    return Command("src.train", *overrides, f"hydra.run.dir={folder}")


@pytest.mark.slow
def test_sigkill_in_the_middle_of_an_epoch_loses_nothing(
    overrides: list[str], run: Callable[..., Path], tmp_path: Path
) -> None:
    whole = run("trainer.max_epochs=10", folder="whole")
    overrides = [*overrides, "trainer.max_epochs=10"]
    killed = command(overrides, tmp_path / "killed")
    wait_for_rows(tmp_path / "killed" / "metrics.csv", 2)
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait().returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "done.json").exists()
    assert command(overrides, tmp_path / "killed").wait().returncode == 0
    assert metrics(tmp_path / "killed") == metrics(whole)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_with_a_word_and_an_error_code(
    overrides: list[str], tmp_path: Path, number: signal.Signals
) -> None:
    training = command([*overrides, "trainer.max_epochs=10000"], tmp_path / "run")
    wait_for_rows(tmp_path / "run" / "metrics.csv", 1)
    os.kill(training.pid, number)
    ended = training.wait(60)
    assert ended.returncode == 128 + number
    assert "interrupted: the same command goes on after the last whole epoch" in ended.stderr


def child_of(training: Command) -> int:
    """Return the second process of a distributed run, which the first has started."""
    words = ["pgrep", "-P", str(training.pid), "-f", "src.train"]
    (child,) = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    return int(child)


@pytest.mark.slow
@pytest.mark.parametrize("find", [child_of, lambda training: training.pid], ids=["second", "first"])
def test_a_signal_to_one_process_of_a_distributed_run_ends_all(
    overrides: list[str], tmp_path: Path, find: Callable[[Command], int]
) -> None:
    choices = [*overrides, "trainer=ddp_cpu", "trainer.max_epochs=10000"]
    training = command(choices, tmp_path / "run")
    wait_for_rows(tmp_path / "run" / "metrics.csv", 1)
    child = child_of(training)
    os.kill(find(training), signal.SIGTERM)
    ended = training.wait(60)
    assert ended.returncode == 128 + signal.SIGTERM
    assert "interrupted: the same command goes on after the last whole epoch" in ended.stderr
    assert not Path(f"/proc/{child}").exists()
    assert not (tmp_path / "run" / "failed.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("kernel=foo", "Could not find 'kernel/foo'"),
        ("-m --cfg job", "--cfg and --info show one run: leave out -m"),
        ("sweeps=smoke", "there is no setting sweeps: +sweeps=NAME runs a sweep"),
        ("optimizer.rate=1", "there is no setting optimizer.rate; --cfg job shows all settings"),
        ("data.augment_on=gpu", "needs a training on a CUDA GPU, got trainer.accelerator=cpu on"),
        ("compile=fast", "compile must be null, default, reduce-overhead, max-autotune, got fast"),
        ("data.augment_on=card", "augment_on must be cpu or gpu, got 'card'"),
        ("data.root=/nowhere", "/nowhere"),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_code(
    overrides: list[str], tmp_path: Path, override: str, message: str
) -> None:
    done = command([*overrides, *override.split()], tmp_path / "run").wait()
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line


def wait_for_rows(path: Path, rows: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if path.exists() and len(path.read_text().splitlines()) > rows:
            return
        time.sleep(0.01)
    raise TimeoutError(f"{path} did not get {rows} rows")


@pytest.mark.slow
def test_two_processes_score_as_one_does(overrides: list[str], tmp_path: Path) -> None:
    names = [f"sub-{number:02d}" for number in range(1, 7)]
    split = {"train": names[:2], "validation": names[2:3], "test": names[3:]}
    (tmp_path / "split.json").write_text(json.dumps(split))
    shared = [*overrides, f"data.split_file={tmp_path / 'split.json'}", "trainer.max_epochs=2"]
    two = command([*shared, "trainer=ddp_cpu"], tmp_path / "two")
    assert two.wait().returncode == 0
    scores = score_again(compose_config(shared), tmp_path / "two", tmp_path / "one")
    assert scores == read_scores(tmp_path / "two" / "subjects.csv")
    assert len(scores) == 2 * 3
    assert len(metrics(tmp_path / "two")) == 2
    for path in (tmp_path / "one" / "predictions").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / "predictions" / path.name).read_bytes()
    assert len(list((tmp_path / "two" / "predictions").iterdir())) == 3


def score_again(config: DictConfig, trained: Path, folder: Path) -> list[Score]:
    """Test the best checkpoint of a run in one process."""
    run = experiment.describe_run(config, folder, CHOICES)
    run.claim()
    data = build(config.data)
    data.prepare()
    trainer = experiment.build_trainer(config, run, data)
    module = experiment.build_module(config, data)
    trainer.test(module, data.loader("test"), ckpt_path=str(trained / "best.ckpt"))
    return read_scores(folder / "subjects.csv")


@pytest.fixture
def baseline(overrides: list[str], tmp_path: Path) -> Callable[..., Path]:
    small = ["network=nnunet", "network.features=[4,4,8]"]
    known = [o for o in overrides if not o.startswith(("kernel", "network"))]

    def start(*more: str) -> Path:
        config = compose_config([*known, *small, *more])
        experiment.train(config, tmp_path / "run", CHOICES | {"network": "nnunet"})
        return tmp_path / "run"

    return start


@pytest.mark.slow
def test_a_network_with_kernels_of_its_own_is_trained_and_named_by_itself(
    baseline: Callable[..., Path],
) -> None:
    folder = baseline("data.patch_size=8")
    record = json.loads((folder / "run.json").read_text())
    assert record["name"].startswith("nnunet-ccc-lr0.01-split0-experiment=smoke-")
    assert "kernel" not in record["choices"]
    assert "kernel" not in yaml.safe_load((folder / "config.yaml").read_text())
    trained = load_trained(folder)
    assert isinstance(trained.network, NNUNet)
    assert trained.config["network"]["size"] == [8, 8, 8]
    rows = metrics(folder)
    (folder / "done.json").unlink()
    (folder / "last.ckpt").unlink()
    assert metrics(baseline("data.patch_size=8")) == rows


def test_missing_monai_is_told_before_any_data_are_looked_at(
    baseline: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "monai.networks", None)
    with pytest.raises(
        UserError, match=r"need MONAI: pip install -e '\.\[baselines\]' in a clone$"
    ):
        baseline("data.root=/nowhere")
