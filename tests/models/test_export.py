import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from config import settings_of
from distorted_cohort import phantom, write_distorted_cohort
from gaborseg.inference import predict
from gaborseg.inference.prediction import load_model
from gaborseg.interface import UserError
from gaborseg.models import ModelError, export_model, load_trained
from gaborseg.models.export import size_of, verify
from tiny_model import description, write_checkpoint

Export = Callable[..., bool]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    told = description("conventional", "argmax")
    return write_checkpoint(tmp_path_factory.mktemp("run") / "model.ckpt", told)


@pytest.fixture(scope="module")
def run(checkpoint: Path) -> Export:
    def start(*overrides: str) -> bool:
        return export_model(settings_of("export", f"checkpoint={checkpoint}", *overrides))

    return start


@pytest.fixture(scope="module")
def program(run: Export, checkpoint: Path) -> Path:
    """The exported file, beside its checkpoint."""
    assert run("format=torch_export", "verify=false")
    return checkpoint.with_suffix(".pt2")


@pytest.mark.slow
def test_a_file_that_computes_the_same_is_verified(
    program: Path, checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert verify(load_trained(checkpoint), program, (1, 1, 16, 16, 16))
    assert "Against the checkpoint: logits differ by at most" in caplog.text
    assert "100.0000 % of the labels agree" in caplog.text


@pytest.mark.slow
def test_a_file_that_differs_from_its_checkpoint_is_told(
    program: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told = description("conventional", "argmax")
    other = load_trained(write_checkpoint(tmp_path / "other.ckpt", told, seed=1))
    with caplog.at_level(logging.INFO):
        assert not verify(other, program, (1, 1, 16, 16, 16))
    assert "NOT the same" in caplog.text


def test_predict_does_not_take_a_torch_program(program: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.pt2 is for use elsewhere: give its checkpoint"):
        load_model(program, torch.device("cpu"))


@pytest.mark.slow
def test_an_onnx_file_is_verified_and_segments_scans(run: Export, tmp_path: Path) -> None:
    scans = write_distorted_cohort(tmp_path / "scans", [phantom])
    model, segmented = tmp_path / "model.onnx", tmp_path / "segmented"
    assert run(f"output={model}")
    places = [f"checkpoint={model}", f"input={scans}", f"output={segmented}"]
    assert predict(settings_of("predict", *places, "device=cpu")) == []
    scan = nib.load(scans / "sub-01" / "anat" / "sub-01_T1w.nii.gz")
    labels = nib.load(segmented / "sub-01" / "anat" / "sub-01_dseg.nii.gz")
    assert labels.shape == scan.shape
    assert len(np.unique(labels.dataobj)) > 1


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("format=tflite", "format must be onnx or torch_export, got tflite"),
        ("output=model.pt2", "output must end in .onnx, got model.pt2"),
        ("size=0", r"size must be 1\.\.16, as large as in training, got 0"),
        ("size=24", r"size must be 1\.\.16, as large as in training, got 24"),
        ("checkpoint=none.ckpt", "none.ckpt is missing"),
    ],
)
def test_mistakes_are_told_first(override: str, problem: str, run: Export) -> None:
    with pytest.raises(UserError, match=problem):
        run(override)


def test_a_file_is_not_overwritten_unless_told(run: Export, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_text("mine")
    with pytest.raises(UserError, match=r"model\.onnx exists: name another, or overwrite=true"):
        run(f"output={tmp_path / 'model.onnx'}")
    assert (tmp_path / "model.onnx").read_text() == "mine"


@pytest.mark.slow
@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_another_export_has_written_meanwhile_stays(
    run: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def be_overtaken(*_: object) -> bool:
        (tmp_path / "model.pt2").write_text("theirs")
        return True

    def refuse(*_: object) -> None:
        raise PermissionError("this file system has no links")

    monkeypatch.setattr("gaborseg.models.export.verify", be_overtaken)
    if not links:
        monkeypatch.setattr("os.link", refuse)
    with pytest.raises(UserError, match=r"model\.pt2 has been written by somebody else"):
        run("format=torch_export", f"output={tmp_path / 'model.pt2'}")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["theirs"]


@pytest.mark.slow
def test_a_file_that_fails_verification_replaces_nothing(
    run: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gaborseg.models.export.verify", lambda *_: False)
    (tmp_path / "model.pt2").write_text("good")
    assert not run("format=torch_export", f"output={tmp_path / 'model.pt2'}", "overwrite=true")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["good"]


def test_the_size_is_that_of_training_or_of_its_patches_or_as_told(checkpoint: Path) -> None:
    trained = load_trained(checkpoint)
    assert size_of(None, trained) == (16, 16, 16)
    assert size_of(12, trained) == (12, 12, 12)
    patched = dataclasses.replace(trained, data=trained.data | {"patch_size": 8})
    assert size_of(None, patched) == (8, 8, 8)
    flat = dataclasses.replace(patched, size=(16, 12, 6))
    assert size_of(None, flat) == (8, 8, 6)
    assert size_of(16, flat) == (16, 12, 6)
