"""A structure that validation does not find for many epochs is named once, with a remedy."""

import logging
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from gaborseg import PCCLoss, SegmentationModule
from gaborseg.decisions import Argmax, Calibrated
from gaborseg.training import DeadStructures


def module(decision: nn.Module | None = None) -> SegmentationModule:
    return SegmentationModule(nn.Identity(), PCCLoss(), structures=("a", "b"), decision=decision)


def after(
    callback: DeadStructures, epochs: int, decision: nn.Module, of: int = 40, **dice: float
) -> None:
    """Let a callback see so many epochs with the same scores, of a training of more."""
    metrics = {f"val/dice/{name}": torch.tensor(value) for name, value in dice.items()}
    trainer = SimpleNamespace(
        callback_metrics={"val/dice": torch.tensor(0.0), **metrics}, max_epochs=of
    )
    for _ in range(epochs):
        callback.on_train_epoch_end(trainer, module(decision))


@pytest.mark.parametrize(
    ("decision", "remedy"),
    [
        (Argmax(), "decision=calibrated finds scores that are right but too low"),
        (Calibrated(3), "try loss=pcc, or if it is that, loss=dice_ce or another seed="),
    ],
)
def test_it_is_named_once_with_a_remedy(
    decision: nn.Module, remedy: str, caplog: pytest.LogCaptureFixture
) -> None:
    callback = DeadStructures()
    with caplog.at_level(logging.WARNING):
        after(callback, 19, decision, a=0.0, b=0.4)
        assert caplog.messages == []
        after(callback, 41, decision, a=0.0, b=0.4)
    (line,) = caplog.messages
    assert line.startswith("validation Dice has been 0 for 20 epochs: a; it will hardly rise")
    assert remedy in line


def test_a_long_training_has_more_patience(caplog: pytest.LogCaptureFixture) -> None:
    callback = DeadStructures()
    after(callback, 29, Argmax(), of=60, a=0.0)
    assert caplog.messages == []
    after(callback, 1, Argmax(), of=60, a=0.0)
    assert "has been 0 for 30 epochs: a" in caplog.text


def test_one_that_is_found_in_between_or_is_in_no_subject_is_not_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    callback = DeadStructures()
    for dice in (0.0, 0.1, 0.0):
        after(callback, 19, Argmax(), a=dice, b=float("nan"))
    assert caplog.messages == []


def test_epochs_of_an_interrupted_session_count(caplog: pytest.LogCaptureFixture) -> None:
    first, second = DeadStructures(), DeadStructures()
    after(first, 12, Argmax(), a=0.0)
    second.load_state_dict(first.state_dict())
    after(second, 8, Argmax(), a=0.0)
    assert len(caplog.messages) == 1
