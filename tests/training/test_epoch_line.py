from types import SimpleNamespace
from typing import Any, cast

import pytest

from gaborseg.runs import Monitor
from gaborseg.training import EpochLine

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
