import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gaborseg.runs import Run, RunFileError, check_origin, is_sealed, not_finite, sealed


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run that has begun."""
    run = Run(tmp_path / "run", {"seed": 0}, "name", ("tag",), "group")
    run.claim()
    run.write_json("run.json", run.origin)
    return run


def content(**changes: Tensor) -> dict[str, object]:
    weights = {"a": torch.ones(2, 3), "b": torch.tensor(7), "c": torch.ones(2).bfloat16()}
    return {"epoch": 0, "state_dict": weights | changes}


def of(run: Run) -> dict[str, object]:
    return sealed(content(), run.origin)


def test_weights_that_are_as_they_were_written_are_sealed() -> None:
    again = {"state_dict": dict(reversed(content()["state_dict"].items()))}
    assert is_sealed(sealed(content(), {}))
    assert is_sealed(sealed(content(), {}) | again)


@pytest.mark.parametrize(
    "changes",
    [
        {"a": torch.tensor([[1.0, 1, 1], [1, 1, 1.0000001]])},
        {"a": torch.ones(3, 2)},
        {"b": torch.tensor(7, dtype=torch.int32)},
        {"d": torch.empty(0)},
    ],
)
def test_other_values_shapes_types_or_names_break_the_seal(changes: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match="its weights are not those that were written"):
        is_sealed(sealed(content(), {}) | content(**changes))


def test_a_checkpoint_of_before_has_no_seal() -> None:
    assert not is_sealed(content())


def test_what_is_not_finite_is_named() -> None:
    bad = {"x": torch.tensor([0, float("nan")]), "y": torch.tensor(float("-inf")).half()}
    assert not_finite(content(**bad)["state_dict"]) == ["x", "y"]


def test_a_checkpoint_of_the_run_is_its_own_wherever_the_folder_is_moved_to(
    run: Run, tmp_path: Path
) -> None:
    own = of(run)
    moved = replace(run, folder=run.folder.rename(tmp_path / "moved"))
    moved.check_checkpoint(moved.path("last.ckpt"), own)


def test_a_checkpoint_of_before_is_taken_for_the_runs_own(run: Run) -> None:
    run.check_checkpoint(run.path("last.ckpt"), content())


@pytest.mark.parametrize("lost", ["config.yaml", "run.json", "both", "neither"])
def test_a_checkpoint_of_other_settings_is_refused_whatever_is_lost(
    run: Run, lost: str, tmp_path: Path
) -> None:
    other = replace(run, folder=tmp_path / "other", config={"seed": 1})
    for name in {"both": ["config.yaml", "run.json"], "neither": []}.get(lost, [lost]):
        run.path(name).unlink()
    with pytest.raises(RunFileError, match=r"last\.ckpt must be of the run in its folder"):
        run.check_checkpoint(run.path("last.ckpt"), of(other))


def test_a_checkpoint_of_the_same_settings_in_another_folder_is_refused(
    run: Run, tmp_path: Path
) -> None:
    other = replace(run, folder=tmp_path / "other")
    with pytest.raises(RunFileError, match=f"whose id is {run.identity}, got one of"):
        check_origin(run.path("best.ckpt"), of(other))


def test_a_moved_run_that_has_lost_its_record_takes_its_identity_from_its_checkpoints(
    run: Run, tmp_path: Path
) -> None:
    torch.save(of(run), run.path("best.ckpt"))
    identity = json.loads(run.path("run.json").read_text())["id"]
    run.path("run.json").unlink()
    moved = replace(run, folder=run.folder.rename(tmp_path / "moved"))
    assert moved.identity == identity


def test_a_run_without_its_configuration_refuses_other_settings(run: Run) -> None:
    run.path("config.yaml").unlink()
    run.check_folder()
    with pytest.raises(FileExistsError, match="holds a run with other settings"):
        replace(run, config={"seed": 1}).check_folder()


def test_a_configuration_that_is_cut_is_damaged_and_not_one_of_other_settings(
    tmp_path: Path,
) -> None:
    run = Run(tmp_path / "run", {"seed": 0, "split": 1}, "name", (), "group")
    run.claim()
    run.write_json("run.json", run.origin)
    run.path("config.yaml").write_text("seed: 0\n")
    with pytest.raises(ValueError, match=r"config\.yaml is damaged, .*: delete it to go on"):
        run.check_folder()
    run.path("config.yaml").unlink()
    run.check_folder()


def test_a_damaged_record_is_told_with_its_folder_before_a_checkpoint_is_judged(run: Run) -> None:
    own = of(run)
    run.path("run.json").write_text("{")
    with pytest.raises(ValueError, match=f"{run.path('run.json')} is damaged"):
        run.check_checkpoint(run.path("last.ckpt"), own)


def test_a_folder_in_the_place_of_a_file_is_told_at_the_door(run: Run) -> None:
    run.path("last.ckpt").mkdir()
    with pytest.raises(ValueError, match=r"last\.ckpt must be a file: move it away"):
        run.check_folder()
