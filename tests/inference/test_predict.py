import csv
import json
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from config import compose_config, settings_of
from distorted_cohort import phantom, write_distorted_cohort
from gaborseg.inference import predict
from gaborseg.inference.batch import Problem
from gaborseg.inference.prediction import load_model
from gaborseg.interface import UserError, quote_values
from gaborseg.models import Model
from tiny_model import STRUCTURES, description, write_checkpoint
from warm import run_command

Run = Callable[..., list[Problem]]
LIMITS = {"field_of_view": [80.0, 90.0], "distances": [1.0], "quantiles": [[0.0] * 50]}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four scans: .nii.gz, .nii, .mgz and .nrrd, of four orientations."""
    return write_distorted_cohort(tmp_path_factory.mktemp("cohort"), [phantom] * 4)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    told = description("conventional", appearance=LIMITS)
    return write_checkpoint(tmp_path_factory.mktemp("model") / "model.ckpt", told)


@pytest.fixture(scope="module")
def load_once() -> Callable[..., Model]:
    return cache(load_model)


@pytest.fixture
def run(
    cohort: Path,
    checkpoint: Path,
    tmp_path: Path,
    load_once: Callable[..., Model],
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    monkeypatch.setattr("gaborseg.inference.prediction.load_model", load_once)

    def start(*overrides: str) -> list[Problem]:
        basic = [f"checkpoint={checkpoint}", f"input={cohort}", f"output={tmp_path / 'out'}"]
        return predict(settings_of("predict", *basic, "device=cpu", *overrides))

    return start


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "volumes.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("threads", ["-1", "0", "true", "1.5", "many"])
def test_threads_that_nothing_can_have_are_refused(threads: str, run: Run) -> None:
    with pytest.raises(UserError, match="threads must be a positive integer or null, got "):
        run(f"threads={threads}")


def test_a_model_is_not_averaged_with_itself_by_a_link(
    checkpoint: Path, tmp_path: Path, run: Run
) -> None:
    (tmp_path / "again.ckpt").symlink_to(checkpoint)
    with pytest.raises(UserError, match="must be named once"):
        run(f"checkpoint=[{checkpoint},{tmp_path}/again.ckpt]")
    with pytest.raises(UserError, match="checkpoint must name a model, got none"):
        run("checkpoint=[]")


def test_every_scan_gets_a_label_map_on_its_own_grid(
    run: Run, cohort: Path, tmp_path: Path
) -> None:
    assert run() == []
    scans = sorted(cohort.rglob("*_T1w.*"))
    assert len(scans) == 4
    for scan in scans:
        folder = tmp_path / "out" / scan.parent.relative_to(cohort)
        (result,) = folder.glob(f"{scan.name.partition('_')[0]}_dseg.nii.gz")
        labels = nib.load(result)
        assert labels.get_data_dtype() == np.uint8
        if scan.suffix != ".nrrd":
            source = nib.load(scan)
            assert labels.shape == source.shape
            np.testing.assert_allclose(labels.affine, source.affine, atol=1e-4)


def test_volumes_are_those_of_the_label_maps(run: Run, tmp_path: Path) -> None:
    run()
    rows = table(tmp_path / "out")
    assert [row["scan"] for row in rows] == [f"sub-{k:02d}/anat/sub-{k:02d}" for k in range(1, 5)]
    for row in rows:
        labels = nib.load(tmp_path / "out" / f"{row['scan']}_dseg.nii.gz")
        voxels = np.asanyarray(labels.dataobj)
        voxel = abs(np.linalg.det(labels.affine[:3, :3]))
        for label, name in enumerate(STRUCTURES, start=1):
            volume = (voxels == label).sum() * voxel  # by the header, which is float32
            assert float(row[name]) == pytest.approx(volume, rel=1e-7, abs=0.01)
        assert row["problem"] == ""
        assert 80 <= float(row["field_of_view_mm"]) <= 90


def test_extras_are_written_on_request(run: Run, cohort: Path, tmp_path: Path) -> None:
    run("overlay=true", "probabilities=true", "viewer=true", f"input={cohort / 'sub-01'}")
    folder = tmp_path / "out" / "anat"
    assert {path.name for path in folder.iterdir()} == {
        "sub-01_dseg.nii.gz",
        "sub-01_overlay.png",
        "sub-01_probabilities.nii.gz",
        "sub-01_viewer.html",
    }
    probabilities = nib.load(folder / "sub-01_probabilities.nii.gz").get_fdata()
    labels = nib.load(folder / "sub-01_dseg.nii.gz").get_fdata()
    assert probabilities.shape == (*labels.shape, 4)
    assert (probabilities.argmax(axis=-1) == labels).mean() > 0.9  # but for the steps of 1/255


def test_a_bad_scan_does_not_stop_the_others(run: Run, cohort: Path, tmp_path: Path) -> None:
    bad = tmp_path / "in"
    bad.mkdir()
    (bad / "a_T1w.nii.gz").write_bytes(b"\x1f\x8b nonsense")
    good = next(cohort.rglob("sub-01_T1w.nii.gz"))
    (bad / "b_T1w.nii.gz").symlink_to(good)
    (problem,) = run(f"input={bad}")
    assert problem.scan == "a"
    assert "is truncated or not a readable image" in problem.reason
    rows = table(tmp_path / "out")
    assert [bool(row["problem"]) for row in rows] == [True, False]
    assert not (tmp_path / "out" / "a_dseg.nii.gz").exists()
    assert (tmp_path / "out" / "b_dseg.nii.gz").exists()


def at_one(value: float) -> np.ndarray:
    voxels = np.arange(1000, dtype=np.float32).reshape(10, 10, 10)
    voxels[5, 5, 5] = value
    return voxels


def test_every_fault_is_a_row_and_the_good_scan_is_segmented(
    run: Run, cohort: Path, tmp_path: Path
) -> None:
    bad, good = tmp_path / "in", next(cohort.rglob("sub-01_T1w.nii.gz"))
    bad.mkdir()
    (bad / "cut_T1w.nii.gz").write_bytes(good.read_bytes()[:-50])
    (bad / "empty_T1w.nii").touch()
    (bad / "gone_T1w.nii").symlink_to(bad / "nowhere.nii")
    for name, voxels, affine, unit in (
        ("nan", at_one(np.nan), np.eye(4), "mm"),
        ("constant", np.ones((9, 9, 9)), np.eye(4), "mm"),
        ("many", np.ones((4, 4, 4, 3)), np.eye(4), "mm"),
        ("slice", np.arange(100.0).reshape(10, 10, 1), np.eye(4), "mm"),
        ("small", at_one(0), np.diag([50.0, 50, 50, 1]), "micron"),
        ("twice", at_one(0), np.eye(4), "mm"),
    ):
        image = nib.Nifti1Image(voxels, affine)
        image.header.set_xyzt_units(unit)
        nib.save(image, bad / f"{name}_T1w.nii")
    (bad / "twice_T1w.nii.gz").symlink_to(good)
    (bad / "whole_T1w.nii.gz").symlink_to(good)
    run(f"input={bad}")
    told = {row["scan"]: row["problem"] for row in table(tmp_path / "out")}
    for name, problem in {
        "constant": "must not be constant, got 1.0 in every voxel",
        "cut": "is truncated or not a readable image",
        "empty": "is truncated or not a readable image: it is empty",
        "gone": "is a symbolic link that leads to no file",
        "many": "must have 3 dimensions, got 4",
        "nan": "must be finite, got 1 NaN or Inf",
        "slice": "must have several slices, got shape (10, 10, 1)",
        "small": "must be in millimetres, got micrometres",
        "twice": "must have one image of the channel T1w, got twice_T1w.nii, twice_T1w.nii.gz",
    }.items():
        assert problem in told.pop(name)
    assert told == {"whole": ""}


def test_names_that_a_terminal_or_utf_8_refuses_end_nothing(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scans = tmp_path / "scans"
    write_distorted_cohort(tmp_path / "cohort", [phantom])
    (good,) = tmp_path.glob("cohort/**/*_T1w.nii.gz")
    (scans / "b[").mkdir(parents=True)
    shutil.copy(good, os.fsencode(scans) + b"/a\xff_T1w.nii.gz")
    (scans / "b[/red]\x1b[2J_T1w.nii.gz").write_bytes(b"nothing")
    settings = [f"checkpoint={checkpoint}", f"input={scans}", f"output={tmp_path / 'out'}"]
    for _ in range(2):
        problems = predict(settings_of("predict", *settings, "device=cpu"))
        assert [problem.scan for problem in problems] == ["b[/red]\x1b[2J"]
        assert r"b[/red]\x1b[2J" in capsys.readouterr().out
    assert [row["scan"] for row in table(tmp_path / "out")] == [r"a\udcff", "b[/red]\x1b[2J"]
    assert (tmp_path / "out" / r"a\udcff_dseg.nii.gz").exists()


def test_what_is_done_is_not_done_again(run: Run, tmp_path: Path) -> None:
    run()
    label_map = tmp_path / "out" / "sub-02" / "anat" / "sub-02_dseg.nii.gz"
    before = times(tmp_path / "out")
    label_map.unlink()
    assert run() == []
    after = times(tmp_path / "out")
    assert {path for path in after if after[path] != before[path]} == {label_map}


def times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.nii.gz")}


def test_results_of_another_model_are_replaced_once(run: Run, tmp_path: Path) -> None:
    run()
    before = times(tmp_path / "out")
    other = write_checkpoint(tmp_path / "other.ckpt", description("conventional"), seed=1)
    assert run(f"checkpoint={other}", "overwrite=true") == []
    replaced = times(tmp_path / "out")
    assert all(replaced[path] > before[path] for path in before)
    assert run(f"checkpoint={other}", "overwrite=true") == []
    assert times(tmp_path / "out") == replaced


def test_a_corrected_label_map_stays_when_more_is_asked_for(
    run: Run, cohort: Path, tmp_path: Path
) -> None:
    run(f"input={cohort / 'sub-01'}")
    label_map = tmp_path / "out" / "anat" / "sub-01_dseg.nii.gz"
    row = table(tmp_path / "out")
    label_map.write_bytes(b"corrected")
    assert run(f"input={cohort / 'sub-01'}", "overlay=true") == []
    assert label_map.read_bytes() == b"corrected"
    assert label_map.with_name("sub-01_overlay.png").exists()
    assert table(tmp_path / "out") == row


def test_results_of_other_models_are_not_touched(run: Run, tmp_path: Path) -> None:
    run()
    other = write_checkpoint(tmp_path / "other.ckpt", description("conventional"), seed=1)
    with pytest.raises(UserError, match="holds results with models"):
        run(f"checkpoint={other}")


@pytest.mark.slow
def test_several_models_are_averaged(run: Run, checkpoint: Path, tmp_path: Path) -> None:
    for seed in (1, 2):
        write_checkpoint(tmp_path / f"split={seed}" / "best.ckpt", description(), seed=seed)
    assert run(f"checkpoint='{tmp_path}/split=*'") == []
    record = json.loads((tmp_path / "out" / "predict.json").read_text())
    assert len(record["models"]) == 2


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("checkpoint=nothing.ckpt", "nothing.ckpt is missing: a checkpoint is a model file or a"),
        ("input=nothing", "input nothing is missing"),
        ("device=gpu9", "device must be auto, cpu or cuda, got gpu9"),
        ("flips=[x]", "flips must not hold x: left_ball"),
        ("patch_size=0", "patch_size must be positive, got 0"),
        ("output=/proc/nothing", "No such file or directory"),
    ],
)
def test_mistakes_are_told_before_anything_is_done(override: str, problem: str, run: Run) -> None:
    with pytest.raises(UserError, match=problem):
        run(override)


def test_paths_are_taken_as_they_are() -> None:
    tricky = "outputs/runs/kernel=gabor,loss=pcc/it's (1) [a]"
    (quoted,) = quote_values([f"input={tricky}"], ["input"])
    assert compose_config([quoted], "predict").input == tricky
    listed = quote_values(["checkpoint=[a=1,b (2)]"], ["checkpoint"])
    assert compose_config(listed, "predict").checkpoint == ["a=1", "b (2)"]
    for argument in ("input='x,y'", "input=['a,b',c]", "device=cpu", "input=null", "input"):
        assert quote_values([argument], ["input"]) == [argument]


@pytest.mark.slow
def test_the_command_tells_what_failed_and_exits_with_1(
    cohort: Path, checkpoint: Path, tmp_path: Path
) -> None:
    scans = tmp_path / "scans, of 2026"
    scans.mkdir()
    (scans / "bad_T1w.nii").write_bytes(b"nonsense")
    (scans / "good_T1w.nii.gz").symlink_to(next(cohort.rglob("sub-01_T1w.nii.gz")))
    places = [f"checkpoint={checkpoint}", f"input={scans}", f"output={tmp_path / 'out'}"]
    done = run_command("src.predict", *places)
    assert done.returncode == 1
    assert "[1/2] bad: not segmented: " in done.stderr
    assert "[2/2] good: " in done.stderr
    assert "1 of 2 scans are segmented" in done.stderr
    assert "Traceback" not in done.stderr
