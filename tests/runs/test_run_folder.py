from dataclasses import replace
from pathlib import Path

import pytest

from gaborseg.machine import software_versions, write_atomically
from gaborseg.runs import Run
from gaborseg.runs.folder import differences, software_changes


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


def test_what_others_refer_to_differs_where_it_has_an_effect() -> None:
    new = {"rates": {"sigma": 10}, "kernel": {"gabor": {"rates": {"sigma": 10}}}}
    old = {"kernel": {"gabor": {"rates": {"sigma": 1}}}}
    assert differences(old, new) == ["kernel.gabor.rates.sigma: 1 -> 10"]


def test_what_runs_did_before_there_was_a_setting_is_no_difference(tmp_path: Path) -> None:
    now = {"seed": 0, "monitor": "val/dice", "monitor_mode": None, "metrics": {}}
    assert differences({"seed": 0}, now) == []
    before, after = (Run(tmp_path, config, "name", (), "") for config in ({"seed": 0}, now))
    assert after.origin == before.origin
    assert differences({"seed": 0}, now | {"monitor": "val/loss"}) == [
        "monitor: val/dice -> val/loss"
    ]


def test_the_identity_depends_on_choices_and_folder(run: Run, tmp_path: Path) -> None:
    assert run.identity == replace(run, name="another", tags=()).identity
    assert run.identity != replace(run, folder=tmp_path / "elsewhere" / "run").identity
    assert run.identity != replace(run, config={"seed": 1}).identity


def test_a_run_that_has_begun_keeps_its_identity_where_it_is_moved_to(
    run: Run, tmp_path: Path
) -> None:
    run.claim()
    run.write_json("run.json", {"id": run.identity})
    moved = replace(run, folder=run.folder.rename(tmp_path / "moved"))
    assert moved.identity == run.identity


def test_half_files_of_a_killed_session_are_removed_and_nothing_else(run: Run) -> None:
    names = (".partial-4711-metrics.csv", "predictions/.partial-4711-sub-01.nii.gz")
    others = (
        ".coverage.host.1234",
        ".notes.2024",
        "deeper/.partial-12-x",
        ".venv.json.3/x",
    )
    for name in (*names, *others):
        run.path(name).parent.mkdir(parents=True, exist_ok=True)
        run.path(name).touch()
    with run.working():
        assert not any(run.path(name).exists() for name in names)
        assert all(run.path(name).exists() for name in others)


@pytest.mark.parametrize("name", ["config.yaml", "run.json"])
def test_a_damaged_record_is_named(run: Run, name: str) -> None:
    run.claim()
    run.path(name).write_text("{a: [")
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        assert run.conflicts() or run.sessions()


def test_code_is_other_code_if_its_content_differs_whatever_the_commit() -> None:
    old = {"python": "3.11", "git_commit": "a", "source": "1"}
    assert software_changes(old, {**old, "git_commit": "b"}) == []
    assert software_changes(old, {**old, "source": "2"}) == ["source: 1 -> 2"]
    before = {"python": "3.11", "git_commit": "a"}
    assert software_changes(before, {**old, "git_commit": "b"}) == ["git_commit: a -> b"]


def test_every_session_counts_not_the_last_alone(run: Run) -> None:
    run.claim()
    now = software_versions()
    run.write_json("run.json", {"sessions": [now | {"torch": "1.0"}, now]})
    assert run.software_changes() == [f"torch: 1.0 -> {now['torch']}"]


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
    run.path("subjects.csv").write_text("subject,structure,dice\na,inner,0.5\n")
    assert run.done
    run.path("done.json").write_text("{")
    assert not run.done


def test_the_identity_ignores_settings_that_decide_nothing(run: Run) -> None:
    assert run.identity == replace(run, config={"seed": 0, "logger": {}}).identity


@pytest.mark.parametrize("told", ["../../../thesis", "0123456789AB", "0123456789ab\n"])
def test_an_identity_that_no_run_would_get_names_nothing(run: Run, told: object) -> None:
    own = run.identity
    run.write_json("run.json", {"id": told})
    assert run.identity == own


@pytest.mark.parametrize("name", ["predictions", "wandb", "checkpoints", "logs/tensorboard"])
def test_nothing_is_written_or_removed_through_a_link(run: Run, tmp_path: Path, name: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / ".partial-mine").write_text("mine")
    (run.folder / name).parent.mkdir(parents=True)
    (run.folder / name).symlink_to(elsewhere)
    with pytest.raises(FileExistsError, match=rf"{name} is a link, .* remove it"):
        run.working().__enter__()
    assert (elsewhere / ".partial-mine").read_text() == "mine"


def test_no_logger_finds_a_link_to_write_its_own_file_through(run: Run, tmp_path: Path) -> None:
    (run.folder / "logs").mkdir(parents=True)
    (run.folder / "logs" / "hparams.yaml").symlink_to(tmp_path / "not there yet")
    with pytest.raises(FileExistsError, match=r"hparams\.yaml is a link, .* remove it"):
        run.working().__enter__()


def test_links_that_others_have_made_for_themselves_are_no_obstacle(run: Run) -> None:
    (run.folder / "wandb" / "run-1").mkdir(parents=True)
    (run.folder / "wandb" / "latest-run").symlink_to("run-1")  # W&B's own
    (run.folder / "here").touch()
    (run.folder / "best.ckpt").symlink_to("here")  # gives way to a whole file
    with run.working():
        assert (run.folder / "wandb" / "latest-run").is_symlink()
