import json
import math
from pathlib import Path

import pytest
import torch
from rich.console import Console

from gaborseg.metrics.case_scores import CaseScores
from gaborseg.runs import (
    RunFileError,
    Score,
    overall_means,
    read_run_scores,
    read_scores,
    score_rows,
    scores_table,
    subject_means,
    write_scores,
)

NAN = math.nan
ROWS = [
    Score("a", "inner", 0.25, 3.0, 0.5, 110.0, 100.0),
    Score("a", "outer", 0.75, 1.0, 1.0, 60.0, 50.0),
    Score("b", "inner", 0.5, 2.0, 0.9, 90.0, 100.0),
    Score("b", "outer", NAN, NAN, NAN, 0.0, 0.0),
]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("│")[2:-1]]


def shown(rows: list[Score]) -> str:
    console = Console(record=True, width=120, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(scores_table(rows, "title"))
    return console.export_text()


def test_rows_name_subject_and_structures() -> None:
    scores = CaseScores(*torch.arange(10, dtype=torch.float64).view(5, 2))
    assert score_rows("a", ["inner", "outer"], scores) == [
        Score("a", "inner", 0.0, 2.0, 4.0, 6.0, 8.0),
        Score("a", "outer", 1.0, 3.0, 5.0, 7.0, 9.0),
    ]


def test_scores_survive_the_file_to_the_last_digit(tmp_path: Path) -> None:
    row = Score("a", "inner", 1 / 3, 2 / 3, 1 / 7, 1e6 / 3, 0.1)
    write_scores(tmp_path / "subjects.csv", [row])
    assert read_scores(tmp_path / "subjects.csv") == [row]


def test_csv_has_the_agreed_columns_and_leaves_empty_what_does_not_exist(tmp_path: Path) -> None:
    write_scores(tmp_path / "subjects.csv", ROWS)
    header, *rest = (tmp_path / "subjects.csv").read_text().splitlines()
    assert header == "subject,structure,dice,hd95,nsd,volume,true_volume,ece,calibrated_ece"
    assert rest[-1] == "b,outer,,,,0.0,0.0,,"
    assert math.isnan(read_scores(tmp_path / "subjects.csv")[-1].hd95)


def test_a_file_of_three_columns_is_still_read(tmp_path: Path) -> None:
    (tmp_path / "subjects.csv").write_text("subject,structure,dice\na,inner,0.25\na,outer,\n")
    first, second = read_scores(tmp_path / "subjects.csv")
    assert first[:3] == ("a", "inner", 0.25)
    assert all(math.isnan(value) for value in (*first[3:], *second[2:]))


def test_an_absent_structure_is_left_out_of_the_subjects_means() -> None:
    means = subject_means(ROWS)
    assert means["a"] == pytest.approx((0.5, 2.0, 0.75, 0.15))
    assert means["b"] == pytest.approx((0.5, 2.0, 0.9, -0.1))


def test_every_subject_counts_the_same() -> None:
    assert overall_means(ROWS) == pytest.approx((0.5, 2.0, 0.825, 0.025))


def test_a_subject_without_structures_has_no_mean_and_does_not_count() -> None:
    empty = Score("c", "inner", NAN, NAN, NAN, 0.0, 0.0)
    assert all(math.isnan(value) for value in subject_means([empty])["c"])
    assert overall_means([*ROWS, empty]) == overall_means(ROWS)


def test_a_volume_error_needs_a_true_volume() -> None:
    assert ROWS[0].volume_error == pytest.approx(0.1)
    assert math.isnan(ROWS[3].volume_error)
    assert math.isnan(Score("a", "inner", 0.0, 9.0, 0.0, 5.0, 0.0).volume_error)


def test_the_table_shows_means_spread_and_number() -> None:
    lines = shown(ROWS).splitlines()
    inner, outer, mean = (
        cells(next(line for line in lines if name in line)) for name in ("inner", "outer", "mean o")
    )
    assert inner == ["37.5", "17.7", "2.50", "70.0", "0.0", "2"]
    assert outer == ["75.0", "-", "1.00", "100.0", "20.0", "1"]
    assert mean == ["50.0", "0.0", "2.00", "82.5", "2.5", "2"]


def test_the_table_of_an_old_run_has_dashes() -> None:
    text = shown([Score("a", "inner", 0.5), Score("b", "inner", 0.5)])
    line = next(line for line in text.splitlines() if "inner" in line)
    assert cells(line) == ["50.0", "0.0", "-", "-", "-", "2"]


def test_names_are_no_formulas_in_the_file_and_what_they_were_when_it_is_read(
    tmp_path: Path,
) -> None:
    rows = [Score("=cmd()", "-x", 0.5), Score("'=", "@a", 0.25)]
    write_scores(tmp_path / "subjects.csv", rows)
    lines = (tmp_path / "subjects.csv").read_text().splitlines()
    assert [line.split(",")[:3] for line in lines[1:]] == [
        ["'=cmd()", "'-x", "0.5"],
        ["''=", "'@a", "0.25"],
    ]
    assert [row[:3] for row in read_scores(tmp_path / "subjects.csv")] == [row[:3] for row in rows]


def test_a_subject_whose_name_is_no_utf_8_keeps_no_file_from_being_written(tmp_path: Path) -> None:
    write_scores(tmp_path / "subjects.csv", [Score("a\udcff", "egg", 0.5)])
    assert read_scores(tmp_path / "subjects.csv")[0].subject == r"a\udcff"


@pytest.fixture
def tested(tmp_path: Path) -> Path:
    """A run of two test subjects with two structures each."""
    data = {"structures": ["inner", "outer"], "split": {"test": ["a", "b"]}}
    (tmp_path / "run.json").write_text(json.dumps({"data": data}))
    (tmp_path / "done.json").write_text(json.dumps({"test_dice": 0.5, "test_subjects": 2}))
    write_scores(tmp_path / "subjects.csv", ROWS)
    return tmp_path


def test_scores_that_agree_with_the_other_files_of_a_run_are_read(tested: Path) -> None:
    assert len(read_run_scores(tested)) == 4


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (ROWS[:2], "must have 4 rows, 2 a test subject, got 2"),
        (ROWS[:3], "must have 4 rows, 2 a test subject, got 3"),
        ([*ROWS, Score("c", "inner", 0.5)], "has c, who was not to be tested"),
        ([*ROWS[:2], Score("b", "inner", 0.4), ROWS[3]], "must have the mean Dice of done.json"),
    ],
)
def test_scores_that_are_lost_or_altered_are_told(
    tested: Path, rows: list[Score], problem: str
) -> None:
    write_scores(tested / "subjects.csv", rows)
    with pytest.raises(RunFileError, match=problem):
        read_run_scores(tested)


def test_every_cut_through_the_table_of_scores_is_told(tested: Path) -> None:
    content = (tested / "subjects.csv").read_bytes()
    for length in range(len(content) - len("0.0\r\n")):
        (tested / "subjects.csv").write_bytes(content[:length])
        with pytest.raises(RunFileError):
            read_run_scores(tested)


def test_a_run_that_found_no_structure_at_all_agrees_with_its_mean(tested: Path) -> None:
    (tested / "done.json").write_text('{"test_dice": NaN, "test_subjects": 2}')
    write_scores(tested / "subjects.csv", [row._replace(dice=NAN) for row in ROWS])
    assert len(read_run_scores(tested)) == 4


@pytest.mark.parametrize(
    ("width", "gone"), [(80, ""), (70, "subjects"), (52, "subjects, volume error %, std")]
)
def test_a_narrow_screen_leaves_columns_out_and_no_name(width: int, gone: str) -> None:
    name = "ventral_diencephalon"
    console = Console(width=width)
    with console.capture() as capture:
        console.print(scores_table([row._replace(structure=name) for row in ROWS], "title"))
    text = capture.get()
    assert name in text
    assert ("Left out" in text) == bool(gone)
    assert gone in " ".join(text.split())
