"""Objects of the configuration that cannot be made: one line that begins with the setting."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from config import compose_config
from gaborseg.interface import Obstacle, UserError, build, settings_named
from gaborseg.interface.building import target_of

_TRANSFORMS = "augmentation.transforms"
_LAST = [torch.nn.Parameter(torch.zeros(1))]


def refusal(make: Callable[[], object]) -> str:
    """What is said when something cannot be made, which is one line."""
    with pytest.raises(UserError) as error:
        make()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("overrides", "part", "message"),
    [
        (
            f"augmentation=intensity +{_TRANSFORMS}.bias_field.coefficientz=0.5",
            "augmentation",
            f"{_TRANSFORMS}.bias_field.coefficientz must be an argument of "
            "torchio.RandomBiasField, got 0.5: the nearest is coefficients",
        ),
        (
            f"augmentation=intensity {_TRANSFORMS}.noise.std=-1",
            "augmentation",
            f"{_TRANSFORMS}.noise.std=-1 cannot be used by torchio.RandomNoise: .*-1.*; "
            r"its default is \(0, 0.25\)",
        ),
        (
            f"augmentation=intensity {_TRANSFORMS}.noise.p=2",
            "augmentation",
            f"{_TRANSFORMS}.noise.p=2 cannot be used by torchio.RandomNoise: .*; its default is 1",
        ),
        (
            "augmentation=paper augmentation.transforms.affine.scale=[1.2,0.8]",
            "data",
            rf"{_TRANSFORMS}.affine.scale must be positive and increasing, got \(1.2, 0.8\)",
        ),
        (
            f"+{_TRANSFORMS}.mine._target_=torchio.RandomNoize",
            "data",
            f"{_TRANSFORMS}.mine._target_ must name what can be imported, got "
            "torchio.RandomNoize: .*",
        ),
        (
            f"+{_TRANSFORMS}.mine._target_=torchio.RandomNoise +{_TRANSFORMS}.mine.std=much",
            "augmentation",
            f"{_TRANSFORMS}.mine.std=much cannot be used by torchio.RandomNoise: .*",
        ),
        (
            "kernel.levels=[${kernel.gabor}]",
            "network",
            "kernel.levels must have 5 entries for 5 levels of channels, got 1",
        ),
        (
            "kernel.gabor.kernel_size=4",
            "network",
            "kernel.gabor.kernel_size must be odd and positive, got 4",
        ),
        (
            "kernel=gabor +kernel.gabor.kernel_sise=5",
            "network",
            "kernel.gabor.kernel_sise must be an argument of gaborseg.layers.GaborConv3d, got 5: "
            "the nearest is kernel_size",
        ),
        ("network.dropout=1", "network", r"network.dropout must be in \[0, 1\), got 1"),
        (
            "+loss.weight=3",
            "loss",
            "loss.weight must be an argument of gaborseg.losses.PCCLoss, got 3: it takes .*",
        ),
        (
            "data.batch_size=0",
            "data",
            "data.batch_size must be a whole number of at least 1, got 0",
        ),
        (
            "callbacks=early_stopping callbacks.early_stopping.mode=highest",
            "callbacks.early_stopping",
            "callbacks.early_stopping.mode=highest cannot be used by "
            "pytorch_lightning.callbacks.EarlyStopping: .*; its default is min",
        ),
        (
            "+callbacks.mine._target_=pytorch_lightning.callbacks.EarlyStopping",
            "callbacks.mine",
            "callbacks.mine.monitor must be given, for "
            r"pytorch_lightning.callbacks.EarlyStopping: add \+callbacks.mine.monitor=\.\.\.",
        ),
        (
            "metrics=jaccard metrics.jaccard.average=mean network.num_classes=3",
            "metrics.jaccard",
            "metrics.jaccard.average=mean cannot be used by torchmetrics.*; its default is macro",
        ),
        (
            "+logger.mine._target_=pytorch_lightning.loggers.CSVLogger",
            "logger.mine",
            "logger.mine.save_dir must be given, for .*",
        ),
    ],
)
def test_the_setting_at_fault_is_named(overrides: str, part: str, message: str) -> None:
    config = compose_config(overrides.split())
    facts = {"in_channels": 1, "num_classes": 3} if part == "network" else {}
    assert re.fullmatch(message, refusal(lambda: build(OmegaConf.select(config, part), **facts)))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+optimizer.foo=1", "optimizer.foo must be an argument of torch.optim.NAdam, got 1: .*"),
        ("optimizer.eps=-1", "optimizer.eps=-1 cannot be used by torch.optim.NAdam: .*-1.*"),
        ("optimizer.betas=[2,0.9]", r"optimizer.betas=\[2, 0.9\] cannot be used by .*: .*2.*"),
    ],
)
def test_what_a_part_says_when_it_is_called_names_it_too(override: str, message: str) -> None:
    node = compose_config([override]).optimizer

    def make() -> None:
        with settings_named(node):
            build(node)(_LAST)

    assert re.match(message, refusal(make))


def test_an_error_that_names_no_argument_is_the_one_of_another() -> None:
    node = compose_config(["trainer=cpu"]).trainer

    def make() -> None:
        with settings_named(node, otherwise="accelerator"):
            raise RuntimeError("there is none")

    assert refusal(make).startswith("trainer.accelerator=cpu cannot be used by ")


def test_a_class_that_cannot_be_found_is_named_when_it_is_only_looked_at() -> None:
    node = compose_config(["+callbacks.mine._target_=nowhere.Callback"]).callbacks.mine
    message = "callbacks.mine._target_ must name what can be imported, got nowhere.Callback: "
    assert refusal(lambda: target_of(node)).startswith(message)


def test_what_the_machine_lacks_is_no_mistake_in_a_setting() -> None:
    def make() -> Any:
        raise OSError(28, "No space left on device", "/full")

    with pytest.raises(Obstacle, match="/full"), settings_named(compose_config().loss):
        make()


def test_a_node_without_a_configuration_is_named_by_its_arguments() -> None:
    node = {"_target_": "gaborseg.losses.PCCLoss", "weight": 3}
    message = "weight must be an argument of gaborseg.losses.PCCLoss, got 3: it takes "
    assert refusal(lambda: build(node)).startswith(message)
