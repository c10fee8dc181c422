import json
import os
from pathlib import Path

import numpy as np
import pytest
import yaml

from gaborseg.reporting.pictures import choose_subject, kernel_drawings, subject_drawing
from gaborseg.study import Results, compute
from synthetic_runs import (
    FEW_STRUCTURES,
    FEW_SUBJECTS,
    NUM_TESTED,
    split_of,
    study_of,
    write_run,
    write_small_run,
)
from tiny_cohort import SHAPE, write_nifti
from tiny_model import STRUCTURES, description, write_checkpoint

TESTED = split_of(0, FEW_SUBJECTS)["test"]


def label_map() -> np.ndarray:
    label = np.zeros(SHAPE, np.uint8)
    label[2:6, 2:6, 2:4], label[2:6, 2:6, 4:6] = 1, 2
    return label


def write_predicted(folder: Path, loss: str, dice: list[float], subjects: list[str]) -> None:
    """A run that keeps its predictions of some subjects, on data beside the runs."""
    scores = {"dice": np.tile(np.array(dice)[:, None], (1, len(FEW_STRUCTURES)))}
    run = write_run(
        folder / "runs" / loss,
        scores,
        loss=loss,
        structures=FEW_STRUCTURES,
        subjects=FEW_SUBJECTS,
        data={"root": str(folder / "data"), "channels": ["T1w"]},
    )
    for subject in subjects:
        write_nifti(run / "predictions" / f"{subject}.nii.gz", np.roll(label_map(), 1, axis=0))


def write_data(folder: Path) -> None:
    for subject in TESTED:
        stem = f"{folder}/data/{subject}/anat/{subject}"
        write_nifti(Path(f"{stem}_T1w.nii.gz"), (100.0 * label_map()).astype(np.float32))
        write_nifti(Path(f"{stem}_dseg.nii.gz"), label_map())


def results_of(folder: Path) -> Results:
    return compute(study_of(folder / "runs"))


def test_the_subject_in_the_middle_of_all_that_every_configuration_predicted_is_shown(
    tmp_path: Path,
) -> None:
    ranks = np.linspace(0.9, 0.3, NUM_TESTED).tolist()
    write_predicted(tmp_path, "pcc", ranks, TESTED)
    write_predicted(tmp_path, "dice", ranks, TESTED)
    shown = choose_subject(results_of(tmp_path), None)
    assert shown is not None
    assert shown.subject == TESTED[::-1][NUM_TESTED // 2]
    assert list(shown.runs) == ["mixed · PCC", "mixed · Dice"]
    assert "median" in shown.why


def test_a_subject_that_more_configurations_predicted_comes_first(tmp_path: Path) -> None:
    write_predicted(tmp_path, "pcc", [0.5] * NUM_TESTED, TESTED)
    write_predicted(tmp_path, "dice", [0.5] * NUM_TESTED, TESTED[-1:])
    shown = choose_subject(results_of(tmp_path), None)
    assert shown is not None
    assert shown.subject == TESTED[-1]


def test_without_predictions_no_subject_is_shown(tmp_path: Path) -> None:
    write_small_run(tmp_path / "runs/one")
    assert choose_subject(results_of(tmp_path), None) is None
    with pytest.raises(ValueError, match="subject must be tested by a run with predictions"):
        choose_subject(results_of(tmp_path), TESTED[0])


@pytest.mark.slow
def test_figure_4_shows_truth_and_every_configuration_with_its_dice(tmp_path: Path) -> None:
    write_data(tmp_path)
    for loss, dice in (("pcc", 0.75), ("dice", 0.5)):
        write_predicted(tmp_path, loss, [dice] * NUM_TESTED, TESTED)
    results = results_of(tmp_path)
    shown = choose_subject(results, TESTED[0])
    assert shown is not None
    drawing = subject_drawing(shown, results)
    assert drawing is not None
    panels = [(axes.get_title(), axes.get_xlabel()) for axes in drawing.figure.axes]
    assert {"truth", "mixed · PCC", "mixed · Dice"} <= {title for title, _ in panels}
    assert [dice for _, dice in panels if dice] == ["Dice 75.0 %", "Dice 50.0 %"]
    assert f"Test subject {TESTED[0]} of split 0" in drawing.text
    assert "median" not in drawing.text


def test_data_that_are_gone_are_a_note_and_no_picture(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_predicted(tmp_path, "pcc", [0.5] * NUM_TESTED, TESTED)
    results = results_of(tmp_path)
    shown = choose_subject(results, None)
    assert shown is not None
    assert subject_drawing(shown, results) is None
    assert f"no picture of {shown.subject}" in caplog.text


def test_a_pipe_in_the_place_of_a_scan_is_a_note_and_no_picture(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_predicted(tmp_path, "pcc", [0.5] * NUM_TESTED, TESTED)
    write_data(tmp_path)
    results = results_of(tmp_path)
    shown = choose_subject(results, None)
    assert shown is not None
    path = tmp_path / "data" / shown.subject / "anat" / f"{shown.subject}_T1w.nii.gz"
    path.unlink()
    os.mkfifo(path)
    assert subject_drawing(shown, results) is None
    assert f"no picture of {shown.subject}" in caplog.text


@pytest.mark.parametrize("kept", [0, 0.5, 0.9])
def test_a_prediction_that_is_cut_is_a_note_and_no_picture(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kept: float
) -> None:
    write_data(tmp_path)
    write_predicted(tmp_path, "pcc", [0.5] * NUM_TESTED, TESTED)
    results = results_of(tmp_path)
    shown = choose_subject(results, TESTED[0])
    assert shown is not None
    path = tmp_path / f"runs/pcc/predictions/{TESTED[0]}.nii.gz"
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    assert subject_drawing(shown, results) is None
    assert f"no picture of {TESTED[0]}" in caplog.text


@pytest.mark.slow
def test_the_kernels_of_the_best_run_of_each_kernel_are_drawn_and_listed(tmp_path: Path) -> None:
    told = description()
    for seed in range(2):
        folder = write_small_run(tmp_path / f"runs/seed{seed}", seed=seed)
        config = yaml.safe_load((folder / "config.yaml").read_text())
        (folder / "config.yaml").write_text(yaml.safe_dump(config | {"network": told["network"]}))
        (folder / "metrics.csv").write_text(f"epoch,val/dice\n0,{0.5 + seed / 10}\n")
        write_checkpoint(folder / "best.ckpt", told)
    ((drawings, table),) = kernel_drawings(results_of(tmp_path))
    names = {drawing.name for drawing in drawings}
    assert {"mixed_kernel_distributions", "mixed_kernel_layers"} < names
    assert any(name.startswith("mixed_kernels_down_level") for name in names)
    assert {drawing.section for drawing in drawings} == {"Kernels"}
    assert table.name == "kernels_mixed"
    assert "seed1, rate 10^-3" in table.title
    assert [row[1] for row in table.rows[:2]] == ["start", "trained"]
    assert len(STRUCTURES) == told["network"]["num_classes"] - 1


@pytest.mark.slow
def test_a_run_does_not_say_where_pictures_of_its_kernels_go(tmp_path: Path) -> None:
    folder = write_small_run(tmp_path / "runs/one")
    record = json.loads((folder / "run.json").read_text())
    record["choices"]["kernel"] = "../../home/x"
    (folder / "run.json").write_text(json.dumps(record))
    write_checkpoint(folder / "best.ckpt", description())
    ((drawings, table),) = kernel_drawings(results_of(tmp_path))
    assert {drawing.name.startswith(".._.._home_x_kernel") for drawing in drawings} == {True}
    assert table.name == "kernels_.._.._home_x"


def test_a_damaged_checkpoint_is_a_note_and_no_picture(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_small_run(tmp_path / "runs/one")
    (folder / "best.ckpt").write_bytes(b"nothing")
    assert list(kernel_drawings(results_of(tmp_path))) == []
    assert f"{folder}: no pictures of its kernels" in caplog.text
