"""Runs that start from the weights of a trained network."""

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from config import compose_config
from gaborseg.data import SegmentationData
from gaborseg.decisions import Argmax
from gaborseg.experiment import run as experiment
from gaborseg.experiment.starting import check_start, start_from_weights
from gaborseg.interface import UserError, build, effective_settings
from gaborseg.losses import CrossEntropyLoss
from gaborseg.models import TrainedModel, load_trained
from gaborseg.runs import weights_digest
from gaborseg.training import SegmentationModule, one_cycle
from tiny_cohort import write_cohort
from tiny_model import description, write_checkpoint
from tiny_run import tiny_overrides

CHOICES = {"kernel": "conventional", "loss": "pcc", "experiment": "quickstart"}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("data") / "cohort", num_subjects=5)


@pytest.fixture(scope="module")
def source(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, to be read only."""
    return train(cohort, tmp_path_factory.mktemp("source") / "run")


def train(cohort: Path, folder: Path, *more: str) -> Path:
    config = compose_config([*tiny_overrides(cohort), "trainer.max_epochs=1", *more])
    experiment.train(config, folder, CHOICES)
    return folder


def weights_in(run: Path, name: str = "best.ckpt") -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(run / name, weights_only=True)["state_dict"]
    return state


def record_of(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "run.json").read_text())
    return content


@pytest.fixture(scope="module")
def tuned(source: Path, cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run from the source's weights with a frozen encoder, to be read only."""
    folder = tmp_path_factory.mktemp("tuned") / "run"
    return train(cohort, folder, f"weights={source}", "weights.freeze=[encoder]")


def test_a_run_tells_what_it_started_from(source: Path, tuned: Path) -> None:
    values = sum(v.numel() for k, v in weights_in(source).items() if k.startswith("network."))
    digest = weights_digest(weights_in(source))
    told = {"path": str(source), "digest": digest, "loaded": values, "new": 0, "left_out": 0}
    assert record_of(tuned)["weights"] == told
    assert f"digest `{digest}`" in (tuned / "model_card.md").read_text()


def test_a_frozen_part_stays_and_the_rest_learns(source: Path, tuned: Path) -> None:
    before, after = weights_in(source), weights_in(tuned)
    frozen = [name for name in before if name.startswith("network.encoder.")]
    assert frozen
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    learnt = [name for name in before if name.startswith("network.decoder.")]
    assert not any(torch.equal(before[name], after[name]) for name in learnt)


def test_frozen_parameters_are_not_counted_as_trained(source: Path, tuned: Path) -> None:
    totals = [record_of(run)["parameters"]["total"] for run in (source, tuned)]
    encoder = [v for k, v in weights_in(source).items() if k.startswith("network.encoder.")]
    assert totals[0] - totals[1] == sum(value.numel() for value in encoder)


def test_a_run_without_weights_has_the_settings_of_before(source: Path, tuned: Path) -> None:
    assert "weights" not in effective_settings(compose_config([]))
    assert "weights:" not in (source / "config.yaml").read_text()
    assert "weights:" in (tuned / "config.yaml").read_text()
    assert "weights" not in record_of(source)


def test_a_run_in_which_nothing_is_learnt_has_the_weights_of_its_source(
    source: Path, cohort: Path, tmp_path: Path
) -> None:
    run = train(cohort, tmp_path / "run", f"weights={source}", "optimizer.lr=1e-30")
    before, after = weights_in(source), weights_in(run)
    assert all(torch.equal(after[k], v) for k, v in before.items() if k.startswith("network."))


@pytest.mark.slow
def test_a_run_goes_on_without_its_source_as_if_nothing_had_been(
    source: Path, cohort: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(source, tmp_path / "source")
    more = (f"weights={copy}", "weights.freeze=[encoder.0]", "weights.rate=0.1")
    whole = train(cohort, tmp_path / "whole", *more, "trainer.max_epochs=2")
    train(cohort, tmp_path / "parts", *more, "trainer.max_epochs=2", "pause_after=1")
    shutil.rmtree(copy)
    parts = train(cohort, tmp_path / "parts", *more, "trainer.max_epochs=2")
    assert (parts / "subjects.csv").read_bytes() == (whole / "subjects.csv").read_bytes()
    assert weights_digest(weights_in(parts)) == weights_digest(weights_in(whole))
    assert record_of(parts)["weights"] == record_of(whole)["weights"]


def test_other_weights_make_another_run(source: Path, tuned: Path, cohort: Path) -> None:
    with pytest.raises(UserError, match="holds a run with other settings"):
        train(cohort, tuned, f"weights={source}", "weights.freeze=[decoder]")


def test_a_run_cannot_start_from_itself(cohort: Path, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "run" / "mine.ckpt")
    with pytest.raises(UserError, match=r"weights must be those of another run, got .*mine\.ckpt"):
        train(cohort, tmp_path / "run", f"weights={tmp_path / 'run' / 'mine.ckpt'}")


@pytest.mark.parametrize("name", ["nowhere", "cohort"])
def test_what_is_no_checkpoint_is_refused_before_anything_is_prepared(
    name: str, cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment, "prepare", lambda data: pytest.fail("prepares"))
    with pytest.raises(UserError, match=r"weights must be a run folder .* missing"):
        train(cohort, tmp_path / "run", f"weights={cohort.parent / name}")


def test_a_strangers_checkpoint_names_no_class_of_its_own(cohort: Path, tmp_path: Path) -> None:
    told = description()
    path = write_checkpoint(tmp_path / "stranger.ckpt", told)
    told["network"]["_target_"] = "subprocess.Popen"
    torch.save(torch.load(path, weights_only=True) | {"description": told}, path)
    with pytest.raises(UserError, match=r"stranger\.ckpt: _target_ must be a network"):
        train(cohort, tmp_path / "run", f"weights={path}")


@pytest.mark.parametrize("turn", [1, -1])
def test_a_path_and_other_settings_stand_in_any_order(turn: int) -> None:
    weights = compose_config(["weights='a=b,c'", "weights.freeze=[encoder]"][::turn]).weights
    assert (weights.path, weights.freeze) == ("a=b,c", ["encoder"])


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("a/path", "weights must be written {path: PATH} in a YAML file, got a/path"),
        ({"freeze": ["encoder"]}, "weights.freeze must go with weights=RUN or weights=CKPT"),
        ({"rate": 0.1}, "weights.rate must go with weights=RUN or weights=CKPT"),
        ({"path": "p", "rate": 0}, "weights.rate must be a positive number, got 0;"),
        ({"path": "p", "freeze": "encoder"}, "weights.freeze must be a list of names"),
        ({"path": "p", "freeze": [1]}, "weights.freeze must be a list of names"),
        ({"path": "p", "freeze": None}, "weights.freeze must be a list of names"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: Any, told: str) -> None:
    defaults = {"path": None, "freeze": [], "rate": 1, "trust": []}
    given = OmegaConf.create(defaults | settings) if isinstance(settings, dict) else settings
    with pytest.raises(ValueError, match=told):
        check_start(given)


class Normed(nn.Module):
    """A network whose normalisation keeps statistics."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv3d(in_channels, 4, 3, padding=1), nn.BatchNorm3d(4))
        self.head = nn.Conv3d(4, num_classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(image))
        return logits


def started(
    structures: tuple[str, ...] = ("inner", "outer"),
    windows: tuple[list[float] | None, list[float] | None] = (None, None),
    voxels: tuple[float, float] = (4.0, 4.0),
    **weights: Any,
) -> SegmentationModule:
    """A module that has started from a network for the structures ``inner`` and ``outer``.

    Args:
        structures: Of the module.
        windows: To which the intensities of its data, and of the source's, were clipped.
        voxels: Sides of theirs, mm.
        weights: Settings.
    """
    node = {"_target_": f"{__name__}.Normed", "in_channels": 1, "num_classes": len(structures) + 1}
    model = TrainedModel(
        checkpoint=Path("source.ckpt"),
        network=Normed(1, 3),
        decision=Argmax(),
        structures=("inner", "outer"),
        channels=("T1w",),
        size=(8, 8, 8),
        spacing=(voxels[1],) * 3,
        data={"preparation": {"window": windows[1]}},
    )
    module = SegmentationModule(
        build(node),
        CrossEntropyLoss(),
        structures=structures,
        optimizer=partial(torch.optim.NAdam, lr=1.0),
        description={
            "network": node,
            "data": {
                "channels": ["T1w"],
                "preparation": {"window": windows[0]},
                "spacing": [voxels[0]] * 3,
            },
        },
    )
    settings = {"path": "source.ckpt", "freeze": [], "rate": 1} | weights
    start_from_weights(module, OmegaConf.create(settings), model, None)
    return module


@pytest.mark.parametrize(
    ("freeze", "told"),
    [
        (["bod"], "must name parts of the network, got bod: the nearest is body$"),
        (["body.0.wieght"], "must name parts .*: the nearest is body.0.weight$"),
        (["hea", "body"], "must name parts .*: the nearest is head$"),
        (["zzz"], "must name parts .*: there are body, head$"),
        (["body", "head"], "must leave something to train"),
    ],
)
def test_what_cannot_be_frozen_is_refused(freeze: list[str], told: str) -> None:
    with pytest.raises(ValueError, match=rf"weights\.freeze {told}"):
        started(freeze=freeze)


@pytest.mark.parametrize(
    ("here", "there", "told"),
    [
        (None, [-160, 240], "saw intensities from -160 to 240, these data have all intensities;"),
        ([0, 80.5], None, "saw all intensities, these data have intensities from 0 to 80.5;"),
    ],
)
def test_another_window_of_intensities_is_told(
    here: list[float] | None, there: list[float] | None, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="gaborseg"):
        started(windows=(here, there))
    assert f"weights: the source {told}" in caplog.text


def test_the_same_window_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="gaborseg"):
        started(windows=([0, 80], [0, 80]))
    assert "intensities" not in caplog.text


@pytest.mark.parametrize(("here", "told"), [(1.5, True), (2.9, False), (5.0, False), (8.0, True)])
def test_voxels_of_another_size_are_told(
    here: float, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="gaborseg"):
        started(voxels=(here, 4.0))
    assert (f"these data have {here:g} mm" in caplog.text) == told
    assert ("prepare these data with the source's size=8" in caplog.text) == told


def test_what_is_new_is_not_frozen() -> None:
    with pytest.raises(ValueError, match=r"got head, of which head\.weight is new"):
        started(("inner", "other"), freeze=["head"])


def test_the_statistics_of_a_frozen_normalisation_stay(cohort: Path) -> None:
    module = started(freeze=["body"])
    before = {name: value.clone() for name, value in module.network.state_dict().items()}
    data = SegmentationData.from_folder(cohort, augmentation=None, num_workers=0)
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(max_epochs=2, accelerator="cpu", enable_model_summary=False, **options)
    trainer.fit(module, datamodule=data)
    after = module.network.state_dict()
    same = {name for name, value in before.items() if torch.equal(value, after[name])}
    assert same == {name for name in before if name.startswith("body.")}


def rates_of(module: SegmentationModule) -> dict[str, float]:
    optimizer = module.optimizer(module.parameters())
    names = {id(parameter): name for name, parameter in module.network.named_parameters()}
    groups = optimizer.param_groups
    return {names[id(p)]: group["lr"] for group in groups for p in group["params"]}


def test_what_was_loaded_learns_at_its_own_rate() -> None:
    rates = rates_of(started(("inner", "other"), rate=0.1))
    assert rates == {
        "head.weight": 1,
        "head.bias": 1,
        **{f"body.{name}": 0.1 for name in ("0.weight", "0.bias", "1.weight", "1.bias")},
    }


def test_all_learns_at_one_rate_if_all_was_loaded() -> None:
    assert set(rates_of(started(rate=0.1)).values()) == {0.1}


def test_a_schedule_keeps_the_two_rates_apart() -> None:
    module = started(("inner", "other"), rate=0.1)
    optimizer = module.optimizer(module.parameters())
    schedule = one_cycle(optimizer, total_steps=10)
    for _ in range(10):
        new, loaded = schedule.get_last_lr()
        assert loaded == pytest.approx(0.1 * new)
        optimizer.step()
        schedule.step()


def test_a_fine_tuned_checkpoint_is_a_model_like_any_other(tuned: Path) -> None:
    assert load_trained(tuned).structures == ("inner", "outer")
