import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wandb
from PIL import Image

from gaborseg.runs import Run, RunFile, Score, write_scores
from gaborseg.sweeps import TRACKER_NOTE
from gaborseg.training import (
    finish,
    has_key,
    log_result,
    start_run,
    use_epoch_as_axis,
    wandb_logger,
)


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    yield
    finish(0)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run", {"seed": 0}, "mixed-pcc-lr0.001-split0", ("mixed", "pcc"), "paper")


def options(run: Run, mode: str = "auto") -> dict[str, object]:
    return {"run": run, "project": "gaborseg", "entity": None, "mode": mode}


def test_without_a_key_the_run_is_offline_and_says_how_to_upload(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        logger = wandb_logger(**options(run))
    assert logger._offline
    assert f"wandb sync {run.folder}" in caplog.text


def test_a_key_in_the_environment_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not has_key()
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert has_key()


def test_a_stored_key_is_found(tmp_path: Path) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text(f"machine api.wandb.ai login user password {'x' * 40}\n")
    netrc.chmod(0o600)
    assert has_key()


def test_an_unknown_mode_is_refused(run: Run) -> None:
    with pytest.raises(ValueError, match="must be one of auto, online, offline, got 'on'"):
        wandb_logger(**options(run, mode="on"))


def test_a_session_that_logged_no_epoch_leaves_no_offline_files(run: Run) -> None:
    idle = run.folder / f"wandb/offline-run-1-{run.identity}"
    idle.mkdir(parents=True)
    wandb_logger(**options(run))
    assert not idle.exists()


@pytest.mark.parametrize("name", ["metrics.csv", "last.ckpt", "best.ckpt"])
def test_offline_files_stay_once_there_is_an_epoch(run: Run, name: str) -> None:
    logged = run.folder / f"wandb/offline-run-1-{run.identity}"
    logged.mkdir(parents=True)
    (run.folder / name).touch()
    wandb_logger(**options(run))
    assert logged.exists()


@pytest.mark.parametrize("refusal", [wandb.errors.CommError("no\nway"), ValueError("short key")])
def test_an_unreachable_server_or_a_bad_key_turns_a_run_offline(
    run: Run,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    refusal: Exception,
) -> None:
    asked = []

    def init(**settings: Any) -> str:
        asked.append((settings["mode"], settings["resume"], settings["settings"].init_timeout))
        if settings["mode"] == "online":
            (run.folder / "wandb" / "run-1").mkdir(parents=True)
            raise refusal
        return "a run"

    monkeypatch.setattr("wandb.init", init)
    monkeypatch.setattr("wandb.teardown", lambda exit_code: None)
    with caplog.at_level("INFO"):
        assert start_run(mode="online", dir=run.folder, id="x") == "a run"
    assert asked == [("online", "allow", 20), ("offline", None, 90)]
    assert re.search(r"W&B: waiting for https://\S+, 20 seconds at most\n", caplog.text)
    assert f"W&B cannot be used: {str(refusal).splitlines()[0]}\n" in caplog.text
    assert f"wandb sync {run.folder}/wandb/offline-run-*" in caplog.text
    assert not (run.folder / "wandb" / "run-1").exists()


def test_one_run_of_a_sweep_finds_out_for_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def init(**settings: Any) -> str:
        asked.append(settings["mode"])
        if settings["mode"] == "online":
            raise wandb.errors.CommError("no way")
        return "a run"

    asked: list[str] = []
    note = tmp_path / "sweep" / ".partial-tracker"
    monkeypatch.setenv(TRACKER_NOTE, str(note))
    monkeypatch.setattr("wandb.init", init)
    monkeypatch.setattr("wandb.teardown", lambda exit_code: None)
    for name in ("a", "b"):
        start_run(mode="online", dir=tmp_path / name, id=name)
    assert asked == ["online", "offline", "offline"]
    assert "cannot be used, as another run of the sweep has found: no way\n" in caplog.text
    os.utime(note, (0, 0))  # long ago
    start_run(mode="online", dir=tmp_path / "c", id="c")
    assert asked[3:] == ["online", "offline"]


@pytest.fixture
def tested(run: Run) -> Run:
    """A run with the scores of two subjects and a picture."""
    run.folder.mkdir()
    rows = [Score("a", "inner", 0.5, 3.0), Score("b", "inner", math.nan)]
    write_scores(run.path(RunFile.SCORES), rows)
    Image.new("RGB", (4, 4)).save(run.path(RunFile.EXAMPLE))
    return run


class Tracked:
    """What a W&B run was given."""

    def __init__(self) -> None:
        self.summary: dict[str, Any] = {}
        self.logged: list[dict[str, Any]] = []
        self.log = self.logged.append


def test_a_result_is_a_summary_a_picture_and_a_table_of_the_subjects(tested: Run) -> None:
    tracked = Tracked()
    log_result(SimpleNamespace(experiment=tracked), tested, {"test/dice": 0.5})
    assert tracked.summary == {"test/dice": 0.5}
    ((media),) = tracked.logged
    assert isinstance(media["example"], wandb.Image)
    assert media["subjects"].columns == [*Score._fields]
    assert [row[:4] for row in media["subjects"].data] == [
        ["a", "inner", 0.5, 3.0],
        ["b", "inner", None, None],
    ]


def test_a_session_that_tests_again_logs_no_second_table(tested: Run) -> None:
    earlier = tested.folder / f"wandb/offline-run-1-{tested.identity}/files/media/table"
    earlier.mkdir(parents=True)
    (earlier / "subjects_3_abc.table.json").touch()
    tracked = Tracked()
    log_result(SimpleNamespace(experiment=tracked), tested, {"test/dice": 0.5})
    assert (tracked.summary, tracked.logged) == ({"test/dice": 0.5}, [])


def test_a_long_choice_is_a_tag_that_wandb_takes(run: Run) -> None:
    (tag,) = wandb_logger(**options(replace(run, tags=("x" * 200,))))._wandb_init["tags"]
    assert len(tag) == 64


@pytest.mark.slow
def test_the_offline_run_holds_what_the_run_was_and_how_it_ended(tested: Run) -> None:
    run = tested
    logger = wandb_logger(**options(run))
    use_epoch_as_axis(logger)
    logger.log_hyperparams({"seed": 0})
    logger.log_metrics({"val/dice": 0.5, "epoch": 0})
    log_result(logger, run, {"best/epoch": 1, "test/dice/inner": 0.25})
    assert wandb.run.id == run.identity
    finish(0)
    assert wandb.run is None
    (folder,) = run.folder.glob("wandb/offline-run-*")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(folder)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert all(json.loads(line) for line in shown.splitlines())
    for word in (run.name, run.group, run.identity, *run.tags, "val/dice", "seed"):
        assert word in shown
    for word in ("best/epoch", "test/dice/inner", "image-file", "table-file"):
        assert word in shown
    assert len(list(folder.glob("files/media/table/subjects_*"))) == 1


def test_a_variable_that_wandb_refuses_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = wandb.Settings
    monkeypatch.setattr(wandb, "setup", lambda _: settings(console="bogus"))  # as it reads them
    told = r"^W&B cannot use WANDB_CONSOLE=bogus: Input should be 'auto'.*; correct it, unset it, "
    with pytest.raises(ValueError, match=told):
        start_run(mode="offline", dir=tmp_path)
