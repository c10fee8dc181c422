from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from config import compose_config
from gaborseg.experiment import run as training
from gaborseg.layers import GaborConv3d, gabor_kernel
from gaborseg.models import ModelError, load_trained
from gaborseg.reporting.trained_kernels import trained_kernels
from tiny_cohort import write_cohort
from tiny_model import write_checkpoint
from tiny_run import tiny_overrides

CHOICES = {"kernel": "mixed", "loss": "pcc", "experiment": "quickstart"}


def trained(tmp_path: Path, *overrides: str) -> Path:
    cohort = write_cohort(tmp_path / "cohort")
    choices = [*tiny_overrides(cohort), "trainer.max_epochs=1", *overrides]
    training.train(compose_config(choices), tmp_path / "run", CHOICES)
    return tmp_path / "run"


def kernels_of(network: nn.Module) -> list[Tensor]:
    layers = (layer for layer in network.modules() if isinstance(layer, GaborConv3d))
    return [gabor_kernel(layer.parameters_of_kernels(), 7) for layer in layers]


@pytest.mark.slow
def test_kernels_are_told_as_the_training_found_and_left_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, start = training.build_module, []

    def remember(*arguments: Any) -> Any:
        module = build(*arguments)
        start.extend(kernels_of(module.network))
        return module

    monkeypatch.setattr(training, "build_module", remember)
    folder = trained(tmp_path, "kernel=mixed", "seed=7")
    best = kernels_of(load_trained(folder).network)
    torch.manual_seed(123)
    layers = trained_kernels(folder)
    assert torch.initial_seed() == 123
    assert len(layers) == len(start) == len(best) == 5
    for layer, first, last in zip(layers, start, best, strict=True):
        assert torch.equal(gabor_kernel(layer.start.parameters, 7), first)
        assert torch.equal(gabor_kernel(layer.trained.parameters, 7), last)
        assert (layer.change > 0).any()


def test_a_conventional_network_has_no_gabor_kernels(tmp_path: Path) -> None:
    assert trained_kernels(trained(tmp_path, "kernel=conventional") / "best.ckpt") == []


def test_a_checkpoint_on_its_own_does_not_tell_where_it_started(tmp_path: Path) -> None:
    alone = trained(tmp_path, "kernel=conventional") / "best.ckpt"
    moved = alone.rename(tmp_path / "best.ckpt")
    with pytest.raises(ModelError, match=r"best.ckpt must be in its run folder"):
        trained_kernels(moved)


def test_kernels_of_a_seed_are_not_shown_for_those_of_a_trained_network(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "run" / "best.ckpt")
    (tmp_path / "run" / "config.yaml").write_text("{seed: 0, weights: {path: other}}")
    with pytest.raises(ModelError, match="started from the kernels of other"):
        trained_kernels(tmp_path / "run")
