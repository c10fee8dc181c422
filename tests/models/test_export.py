import dataclasses
import logging
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import onnx
import pytest
import torch

from config import settings_of
from distorted_cohort import phantom, write_distorted_cohort
from gaborseg.decisions import Argmax
from gaborseg.inference import predict
from gaborseg.inference.prediction import load_model
from gaborseg.interface import UserError
from gaborseg.layers import GaborConv3d
from gaborseg.models import ModelError, export_model, load_trained
from gaborseg.models.deployed import Deployed
from gaborseg.models.export import size_of, told_size, verify
from gaborseg.models.exported import session
from gaborseg.models.exporting import exported_program, write_onnx
from gaborseg.models.verification import smooth_noise
from tiny_model import description, write_checkpoint

Export = Callable[..., bool]
Layer = tuple[torch.nn.Module, Path]
SHAPE = (1, 1, 16, 16, 16)
PROGRAM = SimpleNamespace(format="torch_export", kernels="folded", dtype="float32")


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
        assert verify(load_trained(checkpoint), program, SHAPE, PROGRAM)
    assert "Against the checkpoint: logits differ by at most" in caplog.text
    assert "100.0000 % of the labels agree" in caplog.text


@pytest.mark.slow
def test_a_file_that_differs_from_its_checkpoint_is_told(
    program: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told = description("conventional", "argmax")
    other = load_trained(write_checkpoint(tmp_path / "other.ckpt", told, seed=1))
    with caplog.at_level(logging.INFO):
        assert not verify(other, program, SHAPE, PROGRAM)
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


@pytest.fixture(scope="module")
def gabor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of Gabor kernels alone."""
    folder = tmp_path_factory.mktemp("gabor")
    return write_checkpoint(folder / "model.ckpt", description("gabor", "argmax"))


def test_the_size_is_told_before_anything_is_written(
    gabor: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained = load_trained(gabor)
    whole, half, computed = (
        Deployed(trained.network, trained.decision, **form)
        for form in ({}, {"half": True}, {"fold": False})
    )
    assert half.num_weights == whole.num_weights > 10 * computed.num_weights
    assert whole.num_bytes == 4 * whole.num_weights
    assert half.num_bytes == pytest.approx(whole.num_bytes / 2, rel=0.02)
    line = told_size(whole, trained, Path("model.onnx"))
    assert f"{whole.num_weights:,} weights, for the kernels of {computed.num_weights:,}" in line
    assert "kernels=computed" not in told_size(computed, trained, Path("model.onnx"))


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Layer:
    """A Gabor layer and the ONNX file of its parameters in half precision.

    It is large: kernels that are small the exporter computes itself.
    """
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("layer") / "layer.onnx"
    network = torch.nn.Sequential(GaborConv3d(28, 28))
    deployed = Deployed(network, Argmax(), fold=False, half=True)
    write_onnx(path, exported_program(deployed, (1, 28, 8, 8, 8)), {})
    return network, path


@pytest.mark.slow
def test_an_onnx_runtime_computes_kernels_from_their_parameters(layer: Layer) -> None:
    network, path = layer
    image = smooth_noise((1, 28, 8, 8, 8))
    (found,) = session(path, torch.device("cpu"))(image, ["logits"])
    wanted = network(image).detach()
    assert 0 < (found - wanted).abs().max() < 1e-2 * wanted.abs().max()
    weights = onnx.load(path).graph.initializer
    assert sum(math.prod(weight.dims) for weight in weights) < 28**2 * 7**3  # no kernel is in it


@pytest.mark.slow
def test_predict_does_not_take_kernels_that_are_still_to_be_computed(layer: Layer) -> None:
    with pytest.raises(ModelError, match="for other programs, export it with kernels=folded"):
        load_model(layer[1], torch.device("cpu"))


def test_weights_are_kept_in_half_and_computed_with_in_float32() -> None:
    network = torch.nn.Sequential(torch.nn.Conv3d(1, 3, 3, padding=1), torch.nn.Conv3d(3, 2, 1))
    half = Deployed(network, Argmax(), half=True)
    kept = {name: value.dtype for name, value in half.network.state_dict().items()}
    assert {kept.pop(f"{i}.bias") for i in (0, 1)} == {torch.float32}
    assert {*kept.values()} == {torch.float16}
    image = smooth_noise(SHAPE)
    logits, wanted = half(image)[0], network(image)
    assert logits.dtype == torch.float32
    assert 0 < (logits - wanted).abs().max() < 2**-9 * wanted.abs().max()


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("dtype=int8", "dtype must be float32 or float16, got int8"),
        ("kernels=free", "kernels must be folded or computed, got free"),
        ("kernels=computed", "kernels=computed must go with a network that computes its kernels"),
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


def test_a_torch_program_holds_no_kernels_to_compute(gabor: Path) -> None:
    words = [f"checkpoint={gabor}", "format=torch_export", "kernels=computed"]
    with pytest.raises(UserError, match="kernels=computed must go with format=onnx"):
        export_model(settings_of("export", *words))


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
