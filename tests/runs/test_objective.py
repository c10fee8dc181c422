from pathlib import Path

import pytest

from gaborseg.runs import check_objective, check_searchable, objective_value

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


@pytest.mark.parametrize("logger", [{}, None, {"other": {"_target_": "x.Logger"}}])
def test_a_search_among_runs_without_curves_is_refused(logger: dict | None) -> None:
    with pytest.raises(ValueError, match=r"logger must write metrics\.csv .*: add logger=csv"):
        check_searchable({"objective": "val/dice", "logger": logger}, "maximize")
