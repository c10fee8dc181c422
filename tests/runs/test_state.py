import json
from pathlib import Path

import pytest

from gaborseg.runs import RunState, Stage, locked, note_failure, read_state

METRICS = "epoch,seconds,val/dice\n0,2.0,0.1\n1,4.0,0.3\n2,3.0,0.2\n"


@pytest.fixture
def half_done(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text("trainer:\n  max_epochs: 10\n")
    (tmp_path / "metrics.csv").write_text(METRICS)
    return tmp_path


def test_a_run_of_which_there_is_nothing_waits(tmp_path: Path) -> None:
    assert read_state(tmp_path / "none") == RunState(Stage.WAITING)


def test_a_half_done_run_says_how_far_it_is(half_done: Path) -> None:
    state = read_state(half_done)
    assert (state.stage, state.epoch, state.epochs, state.dice) == (Stage.STOPPED, 3, 10, 0.2)
    assert state.seconds_left == 7 * 3.0


@pytest.mark.parametrize(
    "settings",
    [
        "loss: pcc\ntrainer:\n  max_epochs: 7\n  devices: 1\nseed: 0\n",
        "loss: pcc\ntrainer: {max_epochs: 7}\n",
        "seven: &n 7\ntrainer:\n  max_epochs: *n\n",
    ],
)
def test_the_number_of_epochs_is_found_however_it_is_written(tmp_path: Path, settings: str) -> None:
    (tmp_path / "config.yaml").write_text(settings)
    assert read_state(tmp_path).epochs == 7


def test_a_failed_run_says_why(half_done: Path) -> None:
    note_failure(half_done, ValueError("no such loss\nand more"))
    note_failure(half_done, RuntimeError("the other process is gone"))
    state = read_state(half_done)
    assert (state.stage, state.message, state.epoch) == (Stage.FAILED, "no such loss", 3)


def test_a_done_run_has_its_test_dice(half_done: Path) -> None:
    (half_done / "done.json").write_text(json.dumps({"test_dice": 0.8}))
    assert read_state(half_done).stage == Stage.STOPPED  # its scores are missing
    (half_done / "subjects.csv").write_text("subject,structure,dice\na,inner,0.8\n")
    state = read_state(half_done)
    assert (state.stage, state.dice, state.seconds_left) == (Stage.DONE, 0.8, None)


@pytest.mark.parametrize("name", ["config.yaml", "metrics.csv", "done.json", "failed.json"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"{", b"epoch,seconds\n0,x"])
def test_damaged_files_do_no_harm(half_done: Path, name: str, content: bytes) -> None:
    (half_done / name).write_bytes(content)
    assert read_state(half_done).stage == Stage.STOPPED


def test_its_owner_may_ask_about_another_run(half_done: Path, tmp_path: Path) -> None:
    with locked(tmp_path / "mine"):
        assert read_state(half_done).stage == Stage.STOPPED


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("config.yaml", "trainer: {max_epochs: .inf}", "trainer.max_epochs must be a whole number"),
        ("config.yaml", "trainer: {max_epochs: many}", "trainer.max_epochs must be a whole number"),
        ("config.yaml", "trainer: null", "trainer must be a mapping, got NoneType"),
        ("done.json", '{"epochs": "all"}', "epochs must be a whole number, got 'all'"),
        ("done.json", '{"test_dice": [1]}', "test_dice must be a number, got [1]"),
        ("failed.json", '{"error": 5}', "error must be text, got 5"),
        ("metrics.csv", "epoch,seconds\nfirst,2\n", "must have a number in the column epoch"),
    ],
)
def test_a_value_of_the_wrong_kind_is_a_problem_that_names_it(
    half_done: Path, name: str, text: str, problem: str
) -> None:
    (half_done / name).write_text(text)
    (told,) = read_state(half_done).problems
    assert told.startswith(name)
    assert problem in told


@pytest.mark.parametrize("name", ["config.yaml", "metrics.csv", "done.json", "failed.json"])
def test_a_folder_in_the_place_of_a_file_is_a_problem(half_done: Path, name: str) -> None:
    (half_done / name).unlink(missing_ok=True)
    (half_done / name).mkdir()
    (told,) = read_state(half_done).problems
    assert told.startswith(f"{name} cannot be read")


def test_a_run_whose_scores_are_lost_is_not_done(half_done: Path) -> None:
    (half_done / "done.json").write_text('{"test_dice": 0.8, "test_subjects": 2}')
    (half_done / "subjects.csv").write_text("subject,structure,dice\na,inner,0.8\n")
    state = read_state(half_done)
    assert state.stage == Stage.STOPPED
    assert state.problems == (
        "subjects.csv must have whole rows of 2 test subjects, as many of each, got 1 of 1",
    )
