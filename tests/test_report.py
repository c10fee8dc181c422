import csv
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from config import CONF, compose_config
from src.command import UserError
from src.report import ReportFolder, levels_of, report
from synthetic_runs import PARAMETERS, STRUCTURES, split_of, study_of, write_run, write_small_run


def configuration(**settings: Any) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("report", [f"{key}={value}" for key, value in settings.items()])


def table(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"tables/{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_same_runs_give_the_same_files_byte_by_byte(tmp_path: Path) -> None:
    for split in range(2):
        for loss in ("pcc", "dice"):
            write_small_run(tmp_path / f"runs/{loss}{split}", seed=split, loss=loss)
    for name in ("one", "other"):
        report(configuration(runs=tmp_path / "runs", output=tmp_path / name))
    assert files(tmp_path / "one") == files(tmp_path / "other")


def test_a_report_replaces_an_earlier_one_and_leaves_other_files_alone(tmp_path: Path) -> None:
    for kernel in ("mixed", "gabor"):
        write_small_run(tmp_path / f"runs/{kernel}", kernel=kernel)
    settings = {"runs": tmp_path / "runs", "output": tmp_path / "report"}
    report(configuration(**settings))
    assert (tmp_path / "report/tables/comparisons_dice.csv").exists()
    (tmp_path / "report/mine.txt").write_text("mine")
    shutil.rmtree(tmp_path / "runs/gabor")
    report(configuration(**settings))
    assert not (tmp_path / "report/tables/comparisons_dice.csv").exists()
    assert (tmp_path / "report/mine.txt").read_text() == "mine"


def test_a_folder_of_other_things_is_never_written_to(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(
        FileExistsError, match="output must be new, empty or an earlier report, got"
    ):
        ReportFolder(tmp_path)
    with pytest.raises(FileExistsError, match="output must be a folder, got the file"):
        ReportFolder(tmp_path / "notes.txt")


def test_a_half_finished_sweep_says_what_is_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sweep = tmp_path / "sweep"
    write_small_run(sweep / "a")
    write_small_run(sweep / "b", seed=1, done=False, epochs=7)
    (sweep / "b/failed.json").write_text('{"error": "out of memory"}')
    (sweep / "sweep.json").write_text(json.dumps({"runs": {"a": "a", "b": "b", "c": "c"}}))
    with caplog.at_level("INFO"):
        report(configuration(runs=sweep, output=tmp_path / "report"))
    assert "2 runs are not finished" in caplog.text
    rows = {row["folder"]: row for row in table(tmp_path / "report", "unfinished")}
    assert rows["b"]["state"] == "out of memory"
    assert (rows["b"]["epochs trained"], rows["c"]["state"]) == ("7", "not begun")
    page = (tmp_path / "report/index.html").read_text()
    assert "1 run of a sweep not begun" in page


def test_broken_folders_are_a_line_each_and_the_rest_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    runs = tmp_path / "runs"
    for seed in range(3):
        write_small_run(runs / f"good{seed}", seed=seed)
    (write_small_run(runs / "scoreless", seed=4) / "subjects.csv").unlink()
    write_small_run(runs / "mixed_cohort", seed=5, structures=("liver", "spleen"))
    write_small_run(runs / "twice", dice=0.7, seed=0)
    write_small_run(runs / "nan", dice=float("nan"), seed=6)
    (write_small_run(runs / "torn", seed=7) / "run.json").write_text("{")
    with caplog.at_level("INFO"):
        report(configuration(runs=runs, output=tmp_path / "report"))
    lines = [r.getMessage() for r in caplog.records if r.getMessage().startswith("note: ")]
    for name in ("scoreless", "mixed_cohort", "twice", "nan", "torn"):
        assert len([line for line in lines if f"{runs / name}:" in line]) == 1
    means = table(tmp_path / "report", "structures_dice")
    assert float(means[-1]["mixed · PCC (1.60 M) mean"]) == pytest.approx(50)


def test_tables_of_earlier_sittings_are_read_together_with_runs(tmp_path: Path) -> None:
    write_small_run(tmp_path / "live/a", kernel="gabor")
    kept = write_small_run(tmp_path / "kept/kernel=mixed,loss=pcc,optimizer.lr=10^-3,split=0")
    for name in ("config.yaml", "run.json", "done.json"):
        (kept / name).unlink()
    runs = f"[{tmp_path / 'live'},{tmp_path / 'kept'}]"
    report(configuration(runs=runs, output=tmp_path / "report"))
    labels = {row["configuration"]: row["rate"] for row in table(tmp_path / "report", "runs")}
    assert labels == {"Gabor · PCC": "10^-3", "mixed · PCC · settings not recorded": "10^-3"}


def test_parameters_are_counted_by_level(tmp_path: Path) -> None:
    shape = (len(split_of(0)["test"]), len(STRUCTURES))
    folder = write_run(tmp_path / "run", {"dice": np.ones(shape)}, kernel="mixed")
    record = json.loads((folder / "config.yaml").read_text())
    network = compose_config(["kernel=mixed"]).network
    record["network"] = OmegaConf.to_container(network, resolve=True)
    (folder / "config.yaml").write_text(json.dumps(record))
    (levels,) = levels_of(study_of(tmp_path)).values()
    assert list(levels) == [*(f"level {i}" for i in range(5)), "right leg"]
    assert sum(sum(counts.values()) for counts in levels.values()) == PARAMETERS["mixed"]
    with_gabor = [level for level, counts in levels.items() if counts["gabor"]]
    assert with_gabor == ["level 2", "level 3", "level 4"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"runs": "nowhere"}, "runs must be folders that exist, got nowhere"),
        ({"rate": "fast"}, "rate must be auto, best or a positive number, got fast"),
        ({"rate": "0.5"}, r"rate must be a learning rate of the runs \(0.001\), got 0.5"),
        ({"subject": "nobody"}, "subject must be tested by a run with predictions, got nobody"),
        ({"wandb": "yes"}, "wandb must be one of none, auto, online, offline, got yes"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, settings: dict[str, str], message: str) -> None:
    write_small_run(tmp_path / "runs/one")
    usual = {"runs": tmp_path / "runs", "output": tmp_path / "report"}
    with pytest.raises(UserError, match=message):
        report(configuration(**usual | settings))
    assert not (tmp_path / "report").exists()


def test_folders_without_a_finished_run_are_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="runs must hold run folders, got none in"):
        report(configuration(runs=tmp_path, output=tmp_path / "report"))
    write_small_run(tmp_path / "one", done=False)
    with pytest.raises(UserError, match="runs must hold a finished run, got 1 unfinished"):
        report(configuration(runs=tmp_path, output=tmp_path / "report"))


def test_an_offline_wandb_run_holds_tables_and_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    for loss in ("pcc", "dice"):
        write_small_run(tmp_path / f"runs/{loss}", loss=loss)
    report(configuration(runs=tmp_path / "runs", output=tmp_path / "report", wandb="auto"))
    (run,) = (tmp_path / "report/wandb").glob("offline-run-*")
    command = ["wandb", "leet", "inspect", "--summary", "--json", str(run)]
    told = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    assert {"tables/structures_dice", "tables/runs", "figures/structures"} <= set(told["summary"])
    assert told["summary"]["test/dice/mixed-pcc"] == pytest.approx(0.5)
    assert told["tags"] == ["summary"]
