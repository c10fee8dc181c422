import os
from pathlib import Path

import pytest

from gaborseg.runs import RunFileError, Score, TidyRun, is_tidy, read_tidy, tidy_texts

RUNS = [
    TidyRun(
        {"kernel": "gabor", "optimizer.lr": "0.001", "seed": seed},
        [Score("a", "inner", 1 / 3, 2 / 3), Score("a", "outer", float("nan"), 1.0)],
        {0: {"val/dice": 1 / 7, "seconds": 2.5}},
    )
    for seed in ("0", "1")
]


def write(folder: Path, runs: list[TidyRun]) -> Path:
    for name, text in tidy_texts(runs, "kept").items():
        (folder / name).write_text(text)
    return folder / "kept.csv"


def test_one_row_per_run_subject_and_structure_with_the_settings_as_columns(tmp_path: Path) -> None:
    header, first, *_ = write(tmp_path, RUNS).read_text().splitlines()
    assert header == "kernel,optimizer.lr,seed,subject,structure,dice,hd95"
    assert first == "gabor,0.001,0,a,inner,0.3333333333333333,0.6666666666666666"


def test_runs_survive_the_tables_to_the_last_digit(tmp_path: Path) -> None:
    found = read_tidy(write(tmp_path, RUNS))
    assert tidy_texts(found, "kept") == tidy_texts(RUNS, "kept")
    assert [run.settings for run in found] == [run.settings for run in RUNS]
    assert float(found[1].curves[0]["val/dice"]) == 1 / 7


def test_a_setting_that_a_run_lacks_is_empty(tmp_path: Path) -> None:
    other = TidyRun({"kernel": "mixed", "rates": "equal"}, [Score("a", "inner", 0.5)])
    found = read_tidy(write(tmp_path, [*RUNS, other]))
    assert [run.settings for run in found] == [*(r.settings for r in RUNS), other.settings]
    assert found[-1].curves == {}


def test_people_of_several_scans_have_a_column(tmp_path: Path) -> None:
    scores = [Score(subject, "inner", 0.5) for subject in "abc"]
    told = TidyRun({"seed": "0"}, scores, people={"a": "anna", "b": "anna"})
    path = write(tmp_path, [told, TidyRun({"seed": "1"}, scores)])
    header, first, *_ = path.read_text().splitlines()
    assert (header, first) == ("seed,participant,subject,structure,dice", "0,anna,a,inner,0.5")
    found = read_tidy(path)
    assert [run.people for run in found] == [told.people, {}]
    assert [run.settings for run in found] == [{"seed": "0"}, {"seed": "1"}]


def test_without_curves_there_is_no_table_of_them() -> None:
    assert [*tidy_texts([TidyRun({}, [Score("a", "inner", 0.5)])], "kept")] == ["kept.csv"]


def test_tables_of_other_things_are_none_of_ours(tmp_path: Path) -> None:
    path = write(tmp_path, RUNS)
    (tmp_path / "other.csv").write_text("a,b\n")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\x00")
    found = [file.name for file in sorted(tmp_path.iterdir()) if is_tidy(file)]
    assert found == [path.name]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("gabor,a,inner,0.5\ngabor,a,inner,0.5\n", "has inner of a twice"),
        ("gabor,a,inner,1.5\n", r"dice must be in \[0, 1\] or empty, got 1.5 for inner of a"),
        ("", "holds no subject"),
    ],
)
def test_scores_that_make_no_sense_are_said(tmp_path: Path, rows: str, message: str) -> None:
    (tmp_path / "kept.csv").write_text(f"kernel,subject,structure,dice\n{rows}")
    with pytest.raises(RunFileError, match=message):
        read_tidy(tmp_path / "kept.csv")


def test_names_are_no_formulas_and_numbers_stay_numbers(tmp_path: Path) -> None:
    run = TidyRun({"=name": "@x", "bias": "-1.5"}, [Score("a", "+in", 0.5)], {0: {"loss": -2.0}})
    path = write(tmp_path, [run])
    assert path.read_text().splitlines()[:2] == [
        "'=name,bias,subject,structure,dice",
        "'@x,-1.5,a,'+in,0.5",
    ]
    (found,) = read_tidy(path)
    assert (found.settings, found.scores[0].structure) == (run.settings, "+in")
    assert float(found.curves[0]["loss"]) == -2


def test_a_pipe_is_no_table(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    assert not is_tidy(tmp_path / "pipe.csv")


@pytest.mark.parametrize("name", ["kept.csv", "kept_curves.csv"])
def test_a_table_that_is_cut_in_a_row_is_said(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, RUNS)
    whole = (tmp_path / name).read_text()
    (tmp_path / name).write_text(whole[: whole.rindex(",")])
    with pytest.raises(RunFileError, match=f"{name} has a row that is cut short"):
        read_tidy(path)
