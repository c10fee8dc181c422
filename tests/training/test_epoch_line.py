from types import SimpleNamespace
from typing import Any, cast

import pytest

from gaborseg.runs import Monitor
from gaborseg.training import EpochLine, ProgressBar

VALUES = {"train/loss": 0.5, "val/loss": 0.25, "val/dice": 0.75, "val/dice/a": 0.0, "val/mine": 3.0}
TRAINER = cast(Any, SimpleNamespace(current_epoch=1, max_epochs=4))
LOSSES, DICE = "epoch 2/4: train loss 0.5000, val loss 0.2500", "val Dice 0.7500"
BEST = " (best 0.1250)"


@pytest.mark.parametrize(
    ("monitor", "line"),
    [
        (Monitor(), f"{LOSSES}, {DICE}{BEST}, 7 s; Dice 0: a"),
        (Monitor("val/loss", "min"), f"{LOSSES}{BEST}, {DICE}, 7 s; Dice 0: a"),
        (Monitor("val/mine", "min"), f"{LOSSES}, {DICE}, val/mine 3.0000{BEST}, 7 s; Dice 0: a"),
    ],
)
def test_the_line_of_an_epoch_has_the_best_value_of_what_is_monitored(
    monitor: Monitor, line: str
) -> None:
    callback = EpochLine(monitor)
    callback.load_state_dict({"best": 0.125})
    assert callback._line(TRAINER, VALUES, 7.0) == line


def line_of(zeros: int, left: float | None) -> str:
    callback = EpochLine(Monitor())
    callback.left = left
    return callback._line(TRAINER, VALUES | {f"val/dice/{i}": 0.0 for i in range(zeros - 1)}, 7.0)


def test_the_line_says_how_long_the_training_will_take() -> None:
    assert line_of(1, 700.0).endswith("7 s, 12 min left; Dice 0: a")
    assert line_of(1, 0.0).endswith("7 s; Dice 0: a")


def test_of_more_than_three_structures_the_line_has_the_number() -> None:
    assert line_of(3, None).endswith("; Dice 0: a, 0, 1")
    assert line_of(4, None).endswith("; Dice 0: 4 structures")


@pytest.mark.parametrize(("pause_after", "left"), [(None, 20.0), (3, 10.0), (9, 20.0)])
def test_the_time_left_is_that_of_the_epochs_to_come(
    pause_after: int | None, left: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    callback = EpochLine(Monitor(), pause_after)
    trainer = cast(Any, SimpleNamespace(**vars(TRAINER), callback_metrics={}, is_global_zero=True))
    module = cast(Any, SimpleNamespace(log=lambda *_, **__: None))
    for seconds in (30.0, 10.0, 9.0):
        monkeypatch.setattr("time.perf_counter", lambda seconds=seconds: seconds)
        callback.on_train_epoch_end(trainer, module)
    assert callback.left == left


@pytest.mark.parametrize(
    ("callbacks", "shown"), [([], "epoch 2/4"), ([EpochLine(Monitor())], "epoch 2/4, 12 min left")]
)
def test_the_bar_counts_epochs_as_the_log_does(callbacks: list[EpochLine], shown: str) -> None:
    for callback in callbacks:
        callback.left = 700.0
    bar = ProgressBar()
    bar._trainer = cast(Any, SimpleNamespace(callbacks=callbacks, max_epochs=4))
    assert bar._get_train_description(1) == shown
