import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from gaborseg.commands import status
from gaborseg.interface import UserError
from gaborseg.sweeps import Cell, Round, note_round, show_sweeps, sweeps_in, write_plan


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """A sweep of five runs: done, half done, failed, waiting with a folder, and without."""
    home = tmp_path / "sweeps" / "grid"
    names = ["seed=0", "seed=1", "seed=2", "seed=3", "seed=4"]
    for name in names[:4]:
        (home / name).mkdir(parents=True)
    for name in names[:3]:
        (home / name / "config.yaml").write_text("trainer: {max_epochs: 4}\n")
    (home / "seed=0" / "subjects.csv").write_text("subject,structure,dice\na,b,0.8125\n")
    (home / "seed=0" / "done.json").write_text(json.dumps({"test_dice": 0.8125, "epochs": 4}))
    (home / "seed=1" / "metrics.csv").write_text("epoch,seconds,val/dice\n0,60,0.25\n")
    (home / "seed=2" / "failed.json").write_text('{"error": "no [memory] left"}')
    write_plan(home, [Cell(f"run {name}", home / name, ()) for name in names], [])
    return home


def test_the_state_of_every_run_is_told(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status.main([str(sweep)])
    title, _, *rows, failed = capsys.readouterr().out.rstrip().splitlines()
    assert title == f"{sweep}: 1 of 5 done, 2 waiting, 1 stopped, 1 failed"
    assert [row.split()[1:5] for row in rows] == [
        ["seed=0", "done", "4/4", "81.2"],
        ["seed=1", "stopped", "1/4", "25.0"],
        ["seed=2", "failed", "0/4", "-"],
        ["seed=3", "waiting", "-", "-"],
        ["seed=4", "waiting", "-", "-"],
    ]
    assert rows[1].split()[5:] == ["3", "min"]
    assert failed == f"failed: {sweep}/seed=2: no [memory] left"


def test_a_folder_of_sweeps_and_a_single_run_are_told_as_well(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status.main([f"runs={sweep.parents[1]}"])
    assert f"{sweep}: 1 of 5 done" in capsys.readouterr().out
    status.main([str(sweep / "seed=1")])
    assert "1 of 5" not in capsys.readouterr().out


@pytest.mark.parametrize("form", ["{0} {1} {0}", "runs=[{0},{1}]"])
def test_several_folders_are_told_each_run_once(
    sweep: Path, tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "config.yaml").touch()
    status.main(form.format(tmp_path / "runs", sweep).split())
    out = capsys.readouterr().out
    assert out.count(f"{sweep}: 1 of 5 done") == out.count(f"{tmp_path}/runs: 0 of 1 done") == 1


def test_two_runs_of_a_sweep_are_told_together(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status.main([str(sweep / "seed=0"), str(sweep / "seed=1")])
    assert f"{sweep}: 1 of 2 done, 1 stopped" in capsys.readouterr().out


def test_runs_that_were_stopped_early_are_told(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {"epoch": 3, "epochs": 4, "by": "EarlyStopping", "reason": "no better"}
    outcome = {"test_dice": 0.8125, "epochs": 3, "stopped_early": told}
    (sweep / "seed=0" / "done.json").write_text(json.dumps(outcome))
    status.main([str(sweep)])
    line = f"{sweep}/seed=0: stopped early after epoch 3 of 4 by EarlyStopping: no better"
    assert capsys.readouterr().out.rstrip().splitlines()[-1] == line


def test_runs_that_no_sweep_planned_are_found(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (sweep / "sweep.json").unlink()
    status.main([str(sweep)])
    assert "1 of 3 done" in capsys.readouterr().out


def test_the_files_of_a_tracker_inside_a_run_are_no_runs(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = sweep / "seed=1/wandb/run-1/files"
    files.mkdir(parents=True)
    (files / "config.yaml").write_text("seed: {value: 0}\n")
    status.main([str(sweep)])
    assert capsys.readouterr().out.count("done") == 2  # in the title and in one row


def test_a_folder_without_runs_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"folder must be one that holds runs, got .* without any"):
        status.main([str(tmp_path)])
    with pytest.raises(UserError, match=r"folder must be one that holds runs, got .*none"):
        status.main([str(tmp_path / "none")])


def test_a_file_that_cannot_be_read_is_told_and_stops_nothing(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (sweep / "seed=1" / "config.yaml").write_text("trainer: {max_epochs: .inf}\n")
    status.main([str(sweep)])
    out = capsys.readouterr().out
    assert "1 of 5 done" in out
    reason = "config.yaml: trainer.max_epochs must be a whole number, got inf"
    assert f"problem: {sweep}/seed=1: {reason}\n" in out


def test_a_run_whose_folder_cannot_be_looked_into_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scandir(path: str) -> Any:
        if path.endswith("shut"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scan(path)

    scan = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)
    (tmp_path / "shut").mkdir()
    (entry,) = sweeps_in(tmp_path)[tmp_path]
    assert entry.cell.folder == tmp_path / "shut"


@pytest.mark.parametrize("text", ["[]", '{"runs": null}', '{"runs": ["a"]}', '{"runs": {"x": 5}}'])
def test_a_plan_of_another_kind_stops_nothing(
    sweep: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (sweep / "sweep.json").write_text(text)
    status.main([str(sweep)])
    assert "1 of " in capsys.readouterr().out


def test_a_search_tells_how_far_its_runs_went_and_the_best(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text("trainer:\n  max_epochs: 9\n")
        (tmp_path / name / "metrics.csv").write_text("epoch,val/dice\n0,0.1\n1,0.2\n")
    values = {tmp_path / "a": 0.25, tmp_path / "b": 0.5}
    note_round(tmp_path, Round("val/dice", "maximize", 2, values))
    show_sweeps(sweeps_in(tmp_path))
    shown = capsys.readouterr().out
    assert "0 of 2 done, 2 paused" in shown
    assert "search, val/dice to maximize: 2 runs to epoch 2; best b: 0.5000" in shown
