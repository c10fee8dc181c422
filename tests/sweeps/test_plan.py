from dataclasses import replace
from pathlib import Path

import pytest

from gaborseg.sweeps import Cell, Round, note_round, read_plan, read_rounds, write_plan


def test_a_plan_is_read_back_also_where_the_folder_was_moved(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    cells = [Cell(name, folder / name, ("true",)) for name in ("b", "a/c")]
    write_plan(folder, cells, ["src.train", "-m"])
    moved = folder.rename(tmp_path / "there")
    assert read_plan(moved) == {moved / "b": "b", moved / "a/c": "a/c"}


def test_without_a_plan_there_is_none(tmp_path: Path) -> None:
    assert read_plan(tmp_path) == {}
    (tmp_path / "sweep.json").write_text("{")
    assert read_plan(tmp_path) == {}


@pytest.mark.parametrize("name", ["a\\u0000b", "x" * 300, "x/" * 3000, "\\ud800"])
def test_a_plan_with_a_name_that_no_folder_can_have_is_none(name: str, tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text(f'{{"runs": {{"{name}": "a"}}}}')
    assert read_plan(tmp_path) == {}


@pytest.mark.parametrize(("epochs", "value"), [("1e999", "0.5"), ("2", "1" + "0" * 400)])
def test_rounds_with_numbers_beyond_all_bounds_are_none(
    epochs: str, value: str, tmp_path: Path
) -> None:
    told = f'"objective": "x", "direction": "y", "epochs": {epochs}, "values": {{"a": {value}}}'
    (tmp_path / "sweep.json").write_text(f'{{"rounds": [{{{told}}}]}}')
    assert read_rounds(tmp_path) == []


ROUNDS = [
    Round("val/dice", "maximize", 2, {Path("/s/a"): 0.2, Path("/s/b"): 0.4, Path("/s/c"): None}),
    Round("val/dice", "maximize", None, {Path("/s/b"): 0.5}),
]


def test_the_rounds_of_a_search_are_read_back(tmp_path: Path) -> None:
    rounds = [
        replace(r, values={tmp_path / k.name: v for k, v in r.values.items()}) for r in ROUNDS
    ]
    for found in rounds:
        note_round(tmp_path, found)
    assert read_rounds(tmp_path) == rounds


def test_a_sweep_is_no_search(tmp_path: Path) -> None:
    assert read_rounds(tmp_path) == []


def test_runs_without_a_value_have_no_rank() -> None:
    assert ROUNDS[0].ranked() == [Path("/s/b"), Path("/s/a")]
    assert replace(ROUNDS[0], direction="minimize").ranked() == [Path("/s/a"), Path("/s/b")]


def test_a_search_adds_its_trials_to_the_plan(tmp_path: Path) -> None:
    write_plan(tmp_path, [Cell("first", tmp_path / "a", ())], [])
    write_plan(
        tmp_path, [Cell("again", tmp_path / "a", ()), Cell("b", tmp_path / "b", ())], [], more=True
    )
    assert read_plan(tmp_path) == {tmp_path / "a": "first", tmp_path / "b": "b"}


def test_a_new_search_forgets_the_rounds_of_the_last(tmp_path: Path) -> None:
    note_round(tmp_path, ROUNDS[0])
    write_plan(tmp_path, [], [])
    assert read_rounds(tmp_path) == []
