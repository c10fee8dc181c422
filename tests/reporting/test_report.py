import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from config import compose_config, settings_of
from gaborseg.interface import UserError
from gaborseg.reporting import make_report
from gaborseg.reporting.folder import ReportFolder
from gaborseg.reporting.parameters import levels_of
from holding import held_by_another
from synthetic_runs import PARAMETERS, STRUCTURES, split_of, study_of, write_run, write_small_run
from warm import run_command


def table(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"tables/{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.slow
def test_the_same_runs_give_the_same_files_byte_by_byte(tmp_path: Path) -> None:
    for split in range(2):
        for loss in ("pcc", "dice"):
            write_small_run(tmp_path / f"runs/{loss}{split}", seed=split, loss=loss)
    for name in ("one", "other"):
        make_report(settings_of("report", runs=tmp_path / "runs", output=tmp_path / name))
    assert files(tmp_path / "one") == files(tmp_path / "other")


@pytest.mark.slow
def test_a_report_replaces_an_earlier_one_and_leaves_other_files_alone(tmp_path: Path) -> None:
    for kernel in ("mixed", "gabor"):
        write_small_run(tmp_path / f"runs/{kernel}", kernel=kernel)
    settings = {"runs": tmp_path / "runs", "output": tmp_path / "report"}
    make_report(settings_of("report", **settings))
    assert (tmp_path / "report/tables/comparisons_dice.csv").exists()
    (tmp_path / "report/mine.txt").write_text("mine")
    shutil.rmtree(tmp_path / "runs/gabor")
    make_report(settings_of("report", **settings))
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


def test_the_mark_of_another_program_is_no_earlier_report(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps({"files": ["mine.txt"]}))
    with pytest.raises(FileExistsError, match="output must be new, empty or an earlier report"):
        ReportFolder(tmp_path)


def test_a_mark_names_no_files_outside_its_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    ReportFolder(tmp_path / "report").begin()
    mark = tmp_path / "report/report.json"
    record = json.loads(mark.read_text())
    names = ["../mine.txt", str(tmp_path / "mine.txt"), "index.html"]
    mark.write_text(json.dumps(record | {"files": names}))
    assert ReportFolder(tmp_path / "report").earlier == ["index.html"]


def test_a_mark_removes_no_files_beyond_links(tmp_path: Path) -> None:
    (tmp_path / "home/deep").mkdir(parents=True)
    (tmp_path / "home/deep/mine.txt").touch()
    (tmp_path / "report/figures").mkdir(parents=True)
    (tmp_path / "report/figures/deep").symlink_to(tmp_path / "home/deep")
    names = ["figures/deep/mine.txt", 7, "figures", "nul\0"]
    mark = {"made_by": "python -m src.report", "files": names}
    (tmp_path / "report/report.json").write_text(json.dumps(mark))
    ReportFolder(tmp_path / "report").finish()
    assert (tmp_path / "home/deep/mine.txt").exists()


def test_no_file_of_a_report_is_written_elsewhere(tmp_path: Path) -> None:
    folder = ReportFolder(tmp_path / "report")
    folder.begin()
    with pytest.raises(ValueError, match=r"must be in its folder, got figures/\.\./\.\./x"):
        folder.write("figures/../../x", b"")
    assert not (tmp_path / "x").exists()


def test_a_link_to_a_folder_is_not_written_through(tmp_path: Path) -> None:
    ReportFolder(tmp_path / "report").begin()
    (tmp_path / "report/figures").symlink_to(tmp_path)
    with pytest.raises(FileExistsError, match=r"figures is a link, .* remove it"):
        ReportFolder(tmp_path / "report")


@pytest.mark.slow
def test_a_first_report_that_broke_off_can_be_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_small_run(tmp_path / "runs/one")
    settings = {"runs": tmp_path / "runs", "output": tmp_path / "report"}
    with monkeypatch.context() as patch:
        patch.setattr("gaborseg.reporting.report.make_page", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            make_report(settings_of("report", **settings))
    assert (tmp_path / "report/tables/runs.csv").exists()
    make_report(settings_of("report", **settings))
    assert (tmp_path / "report/index.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize("settings", [("report", "runs", "output"), ("dashboard", "output")])
def test_paths_may_hold_what_hydra_takes_for_its_own(settings: tuple[str, ...]) -> None:
    command, *keys = settings
    path = "runs/kernel=gabor,loss=pcc,split=0"
    done = run_command(f"src.{command}", *(f"{key}={path}" for key in keys), "--cfg", "job")
    told = OmegaConf.create(done.stdout)
    assert [told[key] for key in keys] == [path] * len(keys)


@pytest.mark.slow
def test_a_half_finished_sweep_says_what_is_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sweep = tmp_path / "sweep"
    write_small_run(sweep / "a")
    write_small_run(sweep / "b", seed=1, done=False, epochs=7)
    (sweep / "b/failed.json").write_text('{"error": "out of memory"}')
    (sweep / "sweep.json").write_text(json.dumps({"runs": {"a": "a", "b": "b", "c": "c"}}))
    with caplog.at_level("INFO"):
        make_report(settings_of("report", runs=sweep, output=tmp_path / "report"))
    assert "2 runs are not finished" in caplog.text
    rows = {row["folder"]: row for row in table(tmp_path / "report", "unfinished")}
    assert rows["b"]["state"] == "out of memory"
    assert (rows["b"]["epochs trained"], rows["c"]["state"]) == ("7", "not begun")
    page = (tmp_path / "report/index.html").read_text()
    assert "1 run of a sweep not begun" in page


@pytest.mark.slow
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
    (write_small_run(runs / "no_epoch", seed=8) / "metrics.csv").write_text("val/dice\n0.5\n")
    with caplog.at_level("INFO"):
        make_report(settings_of("report", runs=runs, output=tmp_path / "report"))
    lines = [r.getMessage() for r in caplog.records if r.getMessage().startswith("note: ")]
    for name in ("scoreless", "mixed_cohort", "twice", "nan", "torn", "no_epoch"):
        assert len([line for line in lines if f"{runs / name}:" in line]) == 1
    means = table(tmp_path / "report", "structures_dice")
    assert float(means[-1]["mixed · PCC (1.60 M) mean"]) == pytest.approx(50)


@pytest.mark.slow
def test_runs_without_any_dice_make_a_report(tmp_path: Path) -> None:
    for loss in ("pcc", "dice"):
        for rate in (1e-2, 1e-3):
            name = tmp_path / f"runs/{loss}{rate}"
            write_small_run(name, dice=float("nan"), loss=loss, rate=rate)
    make_report(settings_of("report", runs=tmp_path / "runs", output=tmp_path / "report"))
    assert {row["test Dice [%]"] for row in table(tmp_path / "report", "runs")} == {""}
    page = (tmp_path / "report/index.html").read_text()
    assert "No structure of any subject has a Dice." in page


@pytest.mark.slow
def test_configurations_that_lack_the_rate_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for loss in ("pcc", "dice"):
        write_small_run(tmp_path / f"runs/{loss}", loss=loss)
    write_small_run(tmp_path / "runs/gabor", kernel="gabor", rate=1e-2)
    make_report(settings_of("report", runs=tmp_path / "runs", output=tmp_path / "report"))
    note = "Left out, for want of a run at learning rate 10^-3: Gabor · PCC."
    assert note in caplog.text
    assert note.replace("^-3", "<sup>-3</sup>") in (tmp_path / "report/index.html").read_text()


@pytest.mark.slow
def test_tables_of_earlier_sittings_are_read_together_with_runs(tmp_path: Path) -> None:
    write_small_run(tmp_path / "live/a", kernel="gabor")
    kept = write_small_run(tmp_path / "kept/kernel=mixed,loss=pcc,optimizer.lr=10^-3,split=0")
    for name in ("config.yaml", "run.json", "done.json"):
        (kept / name).unlink()
    runs = f"[{tmp_path / 'live'},{tmp_path / 'kept'}]"
    make_report(settings_of("report", runs=runs, output=tmp_path / "report"))
    labels = {row["configuration"]: row["rate"] for row in table(tmp_path / "report", "runs")}
    assert labels == {"Gabor · PCC": "10^-3", "mixed · PCC · settings not recorded": "10^-3"}


@pytest.mark.slow
def test_tables_alone_are_called_by_what_their_folders_tell(tmp_path: Path) -> None:
    for decision in ("argmax", "calibrated"):
        choices = f"decision={decision},kernel=mixed,loss=pcc,optimizer.lr=10^-3,split=0"
        kept = write_small_run(tmp_path / "kept" / choices)
        for name in ("config.yaml", "run.json", "done.json"):
            (kept / name).unlink()
    make_report(settings_of("report", runs=tmp_path / "kept", output=tmp_path / "report"))
    labels = {row["configuration"] for row in table(tmp_path / "report", "runs")}
    assert labels == {"mixed · PCC · argmax", "mixed · PCC · calibrated"}


@pytest.mark.slow
def test_a_study_is_one_tidy_table_that_gives_the_same_report(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_small_run(tmp_path / f"runs/pcc{seed}", dice=0.5 + seed / 7, seed=seed)
        write_small_run(tmp_path / f"runs/dice{seed}", dice=0.4, loss="dice", seed=seed)
    for epochs in (20, 40):
        write_small_run(tmp_path / f"runs/gabor{epochs}", kernel="gabor", epochs=epochs)
    first, again = tmp_path / "first", tmp_path / "again"
    make_report(settings_of("report", runs=tmp_path / "runs", output=first))
    make_report(settings_of("report", runs=first / "study.csv", output=again))
    for name in ("study.csv", "study_curves.csv"):
        assert (again / name).read_text() == (first / name).read_text()
    scores = ["tables/structures_dice.csv", "tables/comparisons_dice.csv"]  # but for parameters
    for name in scores:
        one, other = ((folder / name).read_text().splitlines() for folder in (first, again))
        assert other[1:] == one[1:]
    rows = table(again, "runs")
    assert {row["configuration"] for row in rows} == {
        "Gabor · PCC · max_epochs 20",
        "Gabor · PCC · max_epochs 40",
        "mixed · PCC · max_epochs 40",
        "mixed · Dice · max_epochs 40",
    }
    assert rows[0]["folder"] == (
        "kernel=mixed,loss=dice,decision=argmax,trainer.max_epochs=40,optimizer.lr=0.001,split=0,seed=0"
    )


@pytest.mark.slow
def test_a_folder_of_tidy_tables_is_read_together_with_runs(tmp_path: Path) -> None:
    write_small_run(tmp_path / "runs/a", kernel="gabor")
    make_report(settings_of("report", runs=tmp_path / "runs", output=tmp_path / "report"))
    (tmp_path / "evidence").mkdir()
    for name in ("study.csv", "study_curves.csv"):
        (tmp_path / "report" / name).rename(tmp_path / "evidence" / name)
    (tmp_path / "evidence/other.csv").write_text("a,b\n1,2\n")
    write_small_run(tmp_path / "live/b", kernel="mixed")
    runs = f"[{tmp_path / 'evidence'},{tmp_path / 'live'}]"
    make_report(settings_of("report", runs=runs, output=tmp_path / "both"))
    labels = [row["configuration"] for row in table(tmp_path / "both", "runs")]
    assert labels == ["Gabor · PCC · settings not recorded", "mixed · PCC"]


@pytest.mark.slow
def test_a_damaged_tidy_table_is_one_line_and_the_runs_are_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_small_run(tmp_path / "runs/a")
    (tmp_path / "runs/kept.csv").write_text("kernel,subject,structure,dice\ngabor,a,inner,2\n")
    make_report(settings_of("report", runs=tmp_path / "runs", output=tmp_path / "report"))
    assert "kept.csv: left out: kept.csv: dice must be in [0, 1] or empty, got 2" in caplog.text


@pytest.mark.slow
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


@pytest.mark.slow
def test_baselines_are_reported_by_name_without_kernels_and_without_monai(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "monai.networks", None)
    for kernel in ("vnet", "nnunet", "mixed"):
        write_small_run(tmp_path / f"runs/{kernel}", kernel=kernel)
        (tmp_path / f"runs/{kernel}/best.ckpt").touch()
    make_report(settings_of("report", runs=tmp_path / "runs", output=tmp_path / "report"))
    rows = table(tmp_path / "report", "parameters")
    assert [(row["kernel"], row["level"], row["total"]) for row in rows] == [
        ("mixed", "all", "1598900"),
        ("V-Net", "all", "45670348"),
        ("nnU-Net U-Net", "all", "5601524"),
    ]
    labels = [row["configuration"] for row in table(tmp_path / "report", "cost")]
    assert labels == ["mixed · PCC", "V-Net · PCC", "nnU-Net U-Net · PCC"]
    assert [text for text in caplog.messages if "kernels" in text and "mixed" not in text] == []
    assert not [text for text in caplog.messages if "MONAI" in text]


def test_a_run_folder_may_not_bring_code_of_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = {"network": {"_target_": "pathlib.Path.mkdir", "self": str(tmp_path / "made")}}
    write_small_run(tmp_path / "run", settings=network)
    assert levels_of(study_of(tmp_path)) == {}
    assert "parameters by level are left out: _target_ must be a network" in caplog.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"runs": "nowhere"},
            "runs must be folders that exist, or tidy tables of runs, got nowhere",
        ),
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
        make_report(settings_of("report", **usual | settings))
    assert not (tmp_path / "report").exists()


@pytest.mark.slow
def test_names_of_structures_and_kernels_are_nothing_but_text(tmp_path: Path) -> None:
    structures = (r"$\foo{$", "=1+1")
    for loss in ("pcc", "dice"):
        folder = write_small_run(tmp_path / "runs" / loss, structures=structures, loss=loss)
        record = json.loads((folder / "run.json").read_text())
        record["choices"] = {"kernel": r"$\baz{$", "loss": rf"$\{loss}{{$"}
        (folder / "run.json").write_text(json.dumps(record))
    settings = {"runs": tmp_path / "runs", "output": tmp_path / "report"}
    make_report(settings_of("report", **settings))
    rows = table(tmp_path / "report", "structures_dice")
    assert [row["structure"] for row in rows][:2] == [r"$\foo{$", "'=1+1"]
    assert (tmp_path / "report/figures/structures.png").exists()


@pytest.mark.slow
def test_a_folder_that_another_report_is_written_to_is_left_to_it(tmp_path: Path) -> None:
    write_small_run(tmp_path / "runs/one")
    settings = settings_of("report", runs=tmp_path / "runs", output=tmp_path / "report")
    with (
        held_by_another(tmp_path / "report"),
        pytest.raises(UserError, match="is in use by process"),
    ):
        make_report(settings)
    assert [path.name for path in (tmp_path / "report").iterdir()] == [".lock"]


def test_folders_without_a_finished_run_are_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="runs must hold run folders, got none in"):
        make_report(settings_of("report", runs=tmp_path, output=tmp_path / "report"))
    write_small_run(tmp_path / "one", done=False)
    with pytest.raises(UserError, match=r"hold a finished run, got 1 unfinished \(.*/one\)"):
        make_report(settings_of("report", runs=tmp_path, output=tmp_path / "report"))


@pytest.mark.slow
def test_an_offline_wandb_run_holds_tables_and_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    for loss in ("pcc", "dice"):
        write_small_run(tmp_path / f"runs/{loss}", loss=loss)
    make_report(
        settings_of("report", runs=tmp_path / "runs", output=tmp_path / "report", wandb="auto")
    )
    (run,) = (tmp_path / "report/wandb").glob("offline-run-*")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json", str(run)]
    told = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    assert {"tables/structures_dice", "tables/runs", "figures/structures"} <= set(told["summary"])
    assert told["summary"]["test/dice/mixed-pcc"] == pytest.approx(0.5)
    assert told["tags"] == ["summary"]
