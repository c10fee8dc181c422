from dataclasses import replace
from pathlib import Path

import pytest

from src.training import Run
from src.training.run_folder import differences, write_atomically


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run", {"seed": 0, "logger": {"a": 1}}, "name", ("tag",), "group")


def test_a_folder_is_claimed_once_and_recognised_again(run: Run) -> None:
    run.claim()
    run.check_folder()
    run.claim()
    assert (run.folder / "config.yaml").read_text() == "seed: 0\nlogger:\n  a: 1\n"


def test_other_settings_are_refused_by_name(run: Run) -> None:
    run.claim()
    with pytest.raises(FileExistsError, match="seed: 0 -> 1"):
        replace(run, config={"seed": 1}).check_folder()


def test_settings_that_decide_nothing_may_change(run: Run) -> None:
    run.claim()
    replace(run, config={"seed": 0, "logger": {}}).check_folder()


def test_differences_name_nested_keys() -> None:
    old, new = {"a": {"b": 1, "c": [1, 2]}}, {"a": {"b": 2, "c": [1, 2]}, "d": None}
    assert differences(old, new) == ["a.b: 1 -> 2"]


def test_the_identity_depends_on_choices_and_folder_name(run: Run, tmp_path: Path) -> None:
    assert run.identity == replace(run, folder=tmp_path / "elsewhere" / "run").identity
    assert run.identity != replace(run, folder=tmp_path / "other").identity
    assert run.identity != replace(run, config={"seed": 1}).identity


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail() -> None:
        with write_atomically(path) as file:
            file.write("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_is_done_when_its_scores_and_its_last_file_are_there(run: Run) -> None:
    run.claim()
    run.write_json("done.json", {"test_dice": 0.5})
    assert not run.done
    run.path("subjects.csv").touch()
    assert run.done


def test_the_identity_ignores_settings_that_decide_nothing(run: Run) -> None:
    assert run.identity == replace(run, config={"seed": 0, "logger": {}}).identity
