import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from config import CONF
from src.command import UserError
from src.export import export, size_of, verify
from src.predict import load_model
from src.trained import load_trained
from tiny_model import description, write_checkpoint

Export = Callable[..., bool]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    told = description("conventional", "argmax")
    return write_checkpoint(tmp_path_factory.mktemp("run") / "model.ckpt", told)


@pytest.fixture(scope="module")
def run(checkpoint: Path) -> Export:
    def start(*overrides: str) -> bool:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return export(compose("export", [f"checkpoint={checkpoint}", *overrides]))

    return start


@pytest.fixture(scope="module")
def program(run: Export, checkpoint: Path) -> Path:
    """The exported file, beside its checkpoint."""
    assert run("format=torch_export", "verify=false")
    return checkpoint.with_suffix(".pt2")


def test_a_file_that_computes_the_same_is_verified(
    program: Path, checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert verify(load_trained(checkpoint), program, (1, 1, 16, 16, 16))
    assert "Against the checkpoint: logits differ by at most" in caplog.text
    assert "100.0000 % of the labels agree" in caplog.text


def test_a_file_that_differs_from_its_checkpoint_is_told(
    program: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told = description("conventional", "argmax")
    other = load_trained(write_checkpoint(tmp_path / "other.ckpt", told, seed=1))
    with caplog.at_level(logging.INFO):
        assert not verify(other, program, (1, 1, 16, 16, 16))
    assert "NOT the same" in caplog.text


def test_predict_takes_the_file(program: Path) -> None:
    model = load_model(program, torch.device("cpu"))
    assert model.fixed_size == model.facts.size == (16, 16, 16)
    assert model.scores(torch.zeros(1, 1, 16, 16, 16)).shape == (1, 4, 16, 16, 16)


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("format=tflite", "format must be onnx or torch_export, got tflite"),
        ("output=model.pt2", "output must end in .onnx, got model.pt2"),
        ("size=0", "size must be 1..1024, got 0"),
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


def test_the_size_is_that_of_training_or_of_its_patches_or_as_told(checkpoint: Path) -> None:
    trained = load_trained(checkpoint)
    assert size_of(None, trained) == (16, 16, 16)
    assert size_of(24, trained) == (24, 24, 24)
    patched = dataclasses.replace(trained, data=trained.data | {"patch_size": 8})
    assert size_of(None, patched) == (8, 8, 8)
