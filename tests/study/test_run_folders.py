import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from gaborseg.runs import RunFileError, find_run_folders, tidy_texts
from gaborseg.study import make_study, read_runs
from gaborseg.study.configurations import kernel_of
from gaborseg.study.run_folders import flatten, read_records, read_run, tidy_run
from synthetic_runs import FEW_STRUCTURES, NUM_TESTED, write_small_run


def test_run_folders_are_found_at_any_depth_once_and_in_order(tmp_path: Path) -> None:
    deep, shallow = write_small_run(tmp_path / "b/c/d"), write_small_run(tmp_path / "a")
    assert list(find_run_folders([tmp_path, tmp_path / "b"])) == [shallow, deep]


def test_a_run_folder_itself_may_be_given(tmp_path: Path) -> None:
    folder = write_small_run(tmp_path / "run")
    assert list(find_run_folders([folder])) == [folder]


def test_what_lies_in_a_run_folder_or_a_report_is_no_run(tmp_path: Path) -> None:
    run = write_small_run(tmp_path / "run")
    write_small_run(run / "wandb/offline")
    report = tmp_path / "report"
    write_small_run(report / "tables")
    (report / "report.json").write_text("{}")
    write_small_run(tmp_path / ".hidden")
    assert list(find_run_folders([tmp_path])) == [run]


def test_links_that_lead_in_circles_are_followed_once(tmp_path: Path) -> None:
    run = write_small_run(tmp_path / "z" / "run")
    for name in ("a", "b", "z/c"):
        (tmp_path / name).symlink_to(tmp_path)
    assert list(find_run_folders([tmp_path])) == [run]


def test_a_folder_that_cannot_be_looked_into_is_no_folder_without_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scandir(path: str) -> Any:
        if path.endswith("shut"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scan(path)

    scan = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)
    run, shut = write_small_run(tmp_path / "run"), tmp_path / "shut"
    shut.mkdir()
    assert list(find_run_folders([tmp_path])) == [run, shut]


def test_a_folder_that_does_not_exist_is_said(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError,
        match=r"runs must be folders that exist, or tidy tables of runs, got .*nowhere",
    ):
        list(find_run_folders([tmp_path / "nowhere"]))


@pytest.mark.parametrize(
    ("name", "kernel"),
    [
        ("network=vnet,loss=dice_ce,split=0", "vnet"),
        ("h100_nnunet_dice_ce_argmax", "nnunet"),
        ("h100_vnet_ds_mixed_pcc", "mixed"),
        ("loss=pcc,split=0", "unknown"),
    ],
)
def test_the_name_of_a_folder_tells_kernel_or_network(
    tmp_path: Path, name: str, kernel: str
) -> None:
    folder = write_small_run(tmp_path / name)
    for record in ("config.yaml", "run.json", "done.json"):
        (folder / record).unlink()
    assert kernel_of(read_run(folder)) == kernel


def test_a_run_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    run = read_run(
        write_small_run(
            tmp_path / "run", kernel="gabor", loss="dice", rate=10**-3.5, split=0, seed=4
        )
    )
    assert (run.done, run.choices["kernel"], run.choices["loss"]) == (True, "gabor", "dice")
    assert (run.rate, run.split, run.seed) == (10**-3.5, "0", 4)
    assert run.structures == FEW_STRUCTURES
    assert run.epochs == (40, 40)
    assert run.curves["val/dice"].iloc[run.best_row] == run.validation_dice
    assert run.validation_dice == run.curves["val/dice"].max()
    assert len(run.scores) == NUM_TESTED * 2


def test_the_best_epoch_is_the_one_that_was_chosen_in_a_table_of_many_runs_too(
    tmp_path: Path,
) -> None:
    folder = write_small_run(tmp_path / "run")
    record = json.loads((folder / "run.json").read_text())
    record["monitor"] = {"name": "val/loss", "mode": "max"}
    (folder / "run.json").write_text(json.dumps(record))
    run = read_run(folder)
    assert run.best_row == run.curves["val/loss"].argmax() != run.curves["val/dice"].argmax()
    for name, text in tidy_texts([tidy_run(run, {"split": "0"}, {})], "kept").items():
        (tmp_path / name).write_text(text)
    (again,) = read_records(tmp_path / "kept.csv")
    assert (again.monitor, again.best_row) == (run.monitor, run.best_row)


def test_a_run_without_done_json_is_not_finished(tmp_path: Path) -> None:
    run = read_run(write_small_run(tmp_path / "run", done=False))
    assert not run.done
    assert run.scores.empty


def test_tables_alone_are_a_finished_run_named_by_its_folder(tmp_path: Path) -> None:
    folder = write_small_run(tmp_path / "h100_mixed_pcc_calibrated_split2")
    for name in ("config.yaml", "run.json", "done.json"):
        (folder / name).unlink()
    run = read_run(folder)
    assert run.done
    assert run.settings is None
    assert run.choices == {"kernel": "mixed", "loss": "pcc", "decision": "calibrated", "split": "2"}
    assert (run.rate, run.split) == (None, "2")
    assert run.structures == FEW_STRUCTURES


def test_a_rate_may_be_written_as_a_power_in_a_folders_name(tmp_path: Path) -> None:
    for name in ("mixed_pcc_lr1e-3.5_split0", "kernel=mixed,loss=pcc,optimizer.lr=10^-3.5"):
        folder = write_small_run(tmp_path / name)
        for file in ("config.yaml", "run.json", "done.json"):
            (folder / file).unlink()
        assert read_run(folder).rate == pytest.approx(10**-3.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate": "fast"}, "the learning rate must be a positive number, got fast"),
        ({"rate": 0.0}, "the learning rate must be a positive number, got 0.0"),
        ({"settings": {"seed": None}}, "the seed must be a whole number, got None"),
    ],
)
def test_settings_that_are_no_numbers_are_said(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(RunFileError, match=message):
        read_run(write_small_run(tmp_path / "run", **changes))


@pytest.mark.parametrize("content", ["val/dice\n0.5\n", "epoch,val/dice\n0,0.4\n,0.5\n"])
def test_curves_must_say_their_epochs(tmp_path: Path, content: str) -> None:
    folder = write_small_run(tmp_path / "run")
    (folder / "metrics.csv").write_text(content)
    with pytest.raises(RunFileError, match="a number in the column epoch of every row"):
        read_run(folder)


def test_a_split_file_names_the_split(tmp_path: Path) -> None:
    run = read_run(
        write_small_run(tmp_path / "run", settings={"data.split_file": "splits/mine.json"})
    )
    assert run.split == "mine"


def test_older_folders_without_surface_scores_are_read(tmp_path: Path) -> None:
    assert list(read_run(write_small_run(tmp_path / "run")).scores) == [
        "subject",
        "structure",
        "dice",
    ]


def test_empty_and_infinite_scores_are_no_numbers(tmp_path: Path) -> None:
    folder = write_small_run(tmp_path / "run")
    (folder / "subjects.csv").write_text(
        "subject,structure,dice,hd95\na,inner,0.5,inf\na,outer,,\nb,inner,nan,2\n"
    )
    scores = read_run(folder).scores
    assert scores["dice"].isna().tolist() == [False, True, True]
    assert scores["hd95"].isna().tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "subject,structure,dice\na,inner,1.5\n",
            r"dice must be in \[0, 1\] or empty, got 1.5 for inner of a",
        ),
        ("subject,structure,dice\na,inner,good\n", "got good for inner of a"),
        (
            "subject,structure,dice,hd95\na,inner,0.5,-1\n",
            "hd95 must be not negative or empty, got -1",
        ),
        ("subject,structure,dice\na,inner,0.5\na,inner,0.5\n", "has inner of a twice"),
        ("subject,structure,dice\n", "holds no subject"),
        ("subject,dice\na,0.5\n", "has no column structure"),
        ("", "has no column subject, structure, dice"),
        ("a\0b\n\xff,,,\n,,,,,\n", "subjects.csv"),
    ],
)
def test_scores_that_make_no_sense_are_said(tmp_path: Path, content: str, message: str) -> None:
    folder = write_small_run(tmp_path / "run")
    (folder / "subjects.csv").write_bytes(content.encode("latin-1"))
    with pytest.raises(RunFileError, match=message):
        read_run(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("run.json", "{", "run.json cannot be read"),
        ("run.json", "[1]", "run.json must hold a mapping, got list"),
        ("run.json", '{"data": [1]}', "run.json: data must be a mapping, got list"),
        ("config.yaml", "a: [", "config.yaml cannot be read"),
        ("config.yaml", "word", "config.yaml must hold a mapping, got str"),
        ("done.json", "", "done.json cannot be read"),
    ],
)
def test_damaged_files_are_said(tmp_path: Path, name: str, content: str, message: str) -> None:
    folder = write_small_run(tmp_path / "run")
    (folder / name).write_text(content)
    with pytest.raises(RunFileError, match=message):
        read_run(folder)


def test_a_finished_run_without_scores_is_one_line_and_the_others_are_read(tmp_path: Path) -> None:
    write_small_run(tmp_path / "good")
    (write_small_run(tmp_path / "bad") / "subjects.csv").unlink()
    records, problems = read_runs(find_run_folders([tmp_path]))
    assert [run.folder.name for run in records] == ["good"]
    (problem,) = map(str, problems)
    assert (
        problem == f"{tmp_path / 'bad'}: left out: subjects.csv is missing, though the run is done"
    )


def test_settings_are_flattened_to_leaves() -> None:
    assert flatten(json.loads('{"a": {"b": [1, {"c": null}], "d": {}}}')) == {
        "a.b.0": 1,
        "a.b.1.c": None,
        "a.d": {},
    }


def test_a_run_that_failed_says_why(tmp_path: Path) -> None:
    folder = write_small_run(tmp_path / "run", done=False)
    (folder / "failed.json").write_text('{"error": "out of memory"}')
    assert read_run(folder).failure == "out of memory"


def test_an_evaluation_is_no_run(tmp_path: Path) -> None:
    (write_small_run(tmp_path / "again") / "evaluation.json").write_text("{}")
    assert list(find_run_folders([tmp_path])) == []


def test_a_run_that_has_lost_scores_is_left_out_and_the_others_are_read(tmp_path: Path) -> None:
    write_small_run(tmp_path / "good", outcome={"test_subjects": NUM_TESTED})
    cut = write_small_run(tmp_path / "cut", outcome={"test_subjects": NUM_TESTED}) / "subjects.csv"
    cut.write_text("".join(cut.read_text().splitlines(keepends=True)[:3]))
    records, problems = read_runs(find_run_folders([tmp_path]))
    assert [run.folder.name for run in records] == ["good"]
    (problem,) = map(str, problems)
    assert problem == (
        f"{tmp_path / 'cut'}: left out: subjects.csv must have {2 * NUM_TESTED} rows, "
        "2 a test subject, got 2"
    )


def test_epochs_that_the_curves_have_lost_are_noted(tmp_path: Path) -> None:
    folder = write_small_run(tmp_path / "run")
    rows = (folder / "metrics.csv").read_text().splitlines(keepends=True)
    (folder / "metrics.csv").write_text("".join(rows[:11]))
    study = make_study(*read_runs([folder]))
    assert list(map(str, study.problems)) == [f"{folder}: metrics.csv has 10 of 40 epochs"]


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("run.json", "sessions", None),
        ("run.json", "sessions", ["x"]),
        ("run.json", "parameters", {"total": "many"}),
        ("run.json", "data", {"split": None}),
        ("done.json", "epochs", "all"),
        ("done.json", "nsd_tolerance", [1]),
        ("config.yaml", "trainer", {"max_epochs": "many"}),
    ],
)
def test_a_value_of_the_wrong_kind_costs_one_run(
    tmp_path: Path, name: str, key: str, value: Any
) -> None:
    write_small_run(tmp_path / "good")
    path = write_small_run(tmp_path / "bad") / name
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    records, problems = read_runs(find_run_folders([tmp_path]))
    assert [run.folder.name for run in records] == ["good"]
    (problem,) = map(str, problems)
    assert problem.startswith(f"{tmp_path / 'bad'}: left out: {name}: {key}")
