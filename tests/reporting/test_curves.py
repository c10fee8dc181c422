from pathlib import Path

import numpy as np
import pytest

from gaborseg.reporting.page import curves
from gaborseg.reporting.page.curves import training_curves
from gaborseg.study import compute
from synthetic_runs import study_of, write_small_run


def write_curves(folder: Path, epochs: int, best: int) -> None:
    write_small_run(folder)
    rows = ["epoch,train/loss,val/dice,val/dice/third_ventricle,lr,seconds,empty"]
    rows += [f"{e},{1 / (e + 1)},{0.9 if e == best else 0.5},0.25,0.001,30," for e in range(epochs)]
    (folder / "metrics.csv").write_text("\n".join([*rows, ""]))


def test_every_column_with_numbers_can_be_drawn_the_usual_ones_first(tmp_path: Path) -> None:
    write_curves(tmp_path / "one", 4, best=2)
    found = training_curves(compute(study_of(tmp_path)))
    assert [(m["id"], m["name"]) for m in found["measures"]] == [
        ("val/dice", "validation Dice"),
        ("train/loss", "training loss"),
        ("lr", "learning rate"),
        ("seconds", "seconds an epoch"),
        ("val/dice/third_ventricle", "validation Dice, 3rd ventricle"),
    ]
    (run,) = found["training"]
    assert run["epochs"] == [1, 2, 3, 4]
    assert run["minutes"] == [0.5, 1.0, 1.5, 2.0]
    assert run["best"] == 2
    assert run["values"]["train/loss"] == [1.0, 0.5, 0.3333, 0.25]


def test_of_a_long_training_evenly_spaced_epochs_are_kept_and_the_best(tmp_path: Path) -> None:
    write_curves(tmp_path / "one", 1000, best=501)
    (run,) = training_curves(compute(study_of(tmp_path)))["training"]
    assert len(run["epochs"]) == 121
    assert (run["epochs"][0], run["epochs"][-1]) == (1, 1000)
    assert run["epochs"][run["best"]] == 502
    assert max(np.diff(run["epochs"])) <= 9
    assert run["minutes"][-1] == 500.0


def test_many_runs_and_columns_get_fewer_epochs_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curves, "_MOST_VALUES", 5 * 30)
    write_curves(tmp_path / "one", 1000, best=0)
    (run,) = training_curves(compute(study_of(tmp_path)))["training"]
    assert len(run["epochs"]) == 30
