import json
import math
from pathlib import Path
from typing import Any

import pytest

from gaborseg.runs import (
    Monitor,
    RunFileError,
    check_objective,
    check_searchable,
    choose_monitor,
    objective_value,
)

CURVES = """epoch,val/dice,val/loss
0,0.1,0.9
1,0.6,0.4
2,0.6,0.3
3,nan,0.2
4,0.7,
"""
CSV = {"csv": {"_target_": "gaborseg.training.CsvLogger"}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "metrics.csv").write_text(CURVES)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "epochs", "value"),
    [
        ("val/dice", None, 0.7),
        ("val/dice", 4, 0.6),
        ("val/loss", 4, 0.4),  # at the first of the best epochs, not its own best
        ("val/loss", 1, 0.9),
        ("val/loss", None, None),  # nothing was noted there
        ("val/hd", None, None),
    ],
)
def test_an_objective_is_that_of_the_best_epoch(
    folder: Path, name: str, epochs: int | None, value: float | None
) -> None:
    assert objective_value(folder, name, epochs) == value


@pytest.mark.parametrize(
    ("monitor", "dice"),
    [({"name": "val/loss", "mode": "min"}, 0.6), ({"name": "val/loss", "mode": "max"}, 0.1)],
)
def test_an_objective_is_read_at_the_epoch_that_was_chosen(
    folder: Path, monitor: dict[str, str], dice: float
) -> None:
    (folder / "run.json").write_text(json.dumps({"monitor": monitor}))
    assert objective_value(folder, "val/dice", 3) == dice


def test_a_choice_that_makes_no_sense_is_told(folder: Path) -> None:
    (folder / "run.json").write_text(json.dumps({"monitor": {"mode": "up"}}))
    with pytest.raises(RunFileError, match=r"run\.json: monitor\.mode must be max or min, got up"):
        objective_value(folder, "val/dice")


@pytest.mark.parametrize(
    ("mode", "values", "best"),
    [
        ("max", [0.1, 0.3, 0.3], 1),
        ("min", [0.3, 0.1, 0.1], 1),
        ("max", [math.nan, None, -1.0], 2),
        ("min", [math.nan, math.inf], 0),
    ],
)
def test_the_first_of_the_best_epochs_is_the_best(
    mode: str, values: list[float | None], best: int
) -> None:
    assert Monitor("val/mine", mode).best(values) == best


@pytest.mark.parametrize(
    ("name", "mode", "expected"),
    [
        ("val/dice", None, "max"),
        ("val/dice/inner", None, "max"),
        ("val/loss", None, "min"),
        ("val/loss", "min", "min"),
        ("val/distance", None, "min"),
        ("val/distance", "max", "max"),  # the user knows better than the class
        ("val/unknown", "max", "max"),
    ],
)
def test_what_is_better_is_known_or_told(name: str, mode: str | None, expected: str) -> None:
    metrics = {"distance": "min", "unknown": None}
    assert choose_monitor(name, mode, metrics, ["inner"]) == (name, expected)


@pytest.mark.parametrize(
    ("name", "mode", "message"),
    [
        ("val/mine", None, "monitor must be val/dice, val/dice/STRUCTURE or val/loss, got val/m"),
        ("val/dice/tail", None, "got val/dice/tail"),
        ("seconds", None, "got seconds"),
        ("train/loss", None, "got train/loss"),
        ("test/dice", None, "monitor must not be a score of the test"),
        ("val/loss", "max", "monitor_mode must be min with monitor=val/loss, got max"),
        ("val/dice", "up", "monitor_mode must be max, min or null, got up"),
    ],
)
def test_what_cannot_choose_an_epoch_is_refused(name: str, mode: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose_monitor(name, mode, {}, ["inner"])


def test_a_run_without_an_epoch_has_no_objective(tmp_path: Path) -> None:
    assert objective_value(tmp_path, "val/dice") is None


@pytest.mark.parametrize("name", ["val/dice", "val/loss", "train/loss", "val/dice/inner"])
def test_what_the_validation_tells_may_be_an_objective(name: str) -> None:
    check_objective(name, ["inner", "outer"])


@pytest.mark.parametrize("name", ["test/dice", "test/hd95"])
def test_a_score_of_the_test_may_not(name: str) -> None:
    with pytest.raises(ValueError, match=rf"nothing may be selected, got {name}: use val/dice"):
        check_objective(name)


@pytest.mark.parametrize("name", ["val/dice/hippocampus", "val/dce", "seconds", None])
def test_what_nothing_logs_is_refused(name: str | None) -> None:
    with pytest.raises(ValueError, match=rf"objective must be val/dice, .*, got {name}$"):
        check_objective(name, ["inner", "outer"])


@pytest.mark.parametrize(("name", "wrong"), [("val/dice", "minimize"), ("val/loss", "maximize")])
def test_a_search_in_the_wrong_direction_is_refused(name: str, wrong: str) -> None:
    with pytest.raises(
        ValueError, match=rf"direction must be .* with objective={name}, got {wrong}"
    ):
        check_searchable({"objective": name, "logger": CSV}, wrong)


def test_a_metric_of_the_users_own_may_be_an_objective() -> None:
    check_objective("val/mine", ["inner"], metrics=["mine"])
    config: dict[str, Any] = {"objective": "val/mine", "logger": CSV, "metrics": {"mine": {}}}
    for direction in ("minimize", "maximize"):
        check_searchable(config, direction)
    check_searchable(config, "minimize", "min")
    with pytest.raises(ValueError, match="must be minimize with objective=val/mine, got maximize"):
        check_searchable(config, "maximize", "min")


@pytest.mark.parametrize("logger", [{}, None, {"other": {"_target_": "x.Logger"}}])
def test_a_search_among_runs_without_curves_is_refused(logger: dict | None) -> None:
    with pytest.raises(ValueError, match=r"logger must write metrics\.csv .*: add logger=csv"):
        check_searchable({"objective": "val/dice", "logger": logger}, "maximize")
