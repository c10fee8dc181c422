import math
from pathlib import Path

import pytest
import torch
from rich.console import Console

from src.metrics import SubjectTable
from src.training import read_scores, scores_table, subject_means
from src.training.results import score_rows, write_scores

ROWS = [("a", "inner", 0.25), ("a", "outer", 0.75), ("b", "inner", 0.5), ("b", "outer", math.nan)]


def test_rows_name_subjects_and_structures() -> None:
    scores = SubjectTable(torch.tensor([1]), torch.tensor([[0.25, 0.75]]))
    assert score_rows(scores, ["x", "a"], ["inner", "outer"]) == ROWS[:2]


def test_scores_survive_the_file_to_the_last_digit(tmp_path: Path) -> None:
    rows = [("a", "inner", 1 / 3), ("a", "outer", math.nan)]
    write_scores(tmp_path / "subjects.csv", rows)
    first, second = read_scores(tmp_path / "subjects.csv")
    assert first == rows[0]
    assert math.isnan(second[2])


def test_an_absent_structure_is_left_out_of_the_subjects_mean() -> None:
    assert subject_means(ROWS) == [0.5, 0.5]


def test_a_subject_without_structures_has_no_mean() -> None:
    assert math.isnan(subject_means([("a", "inner", math.nan)])[0])


def test_the_table_shows_mean_std_and_number() -> None:
    console = Console(record=True, width=100, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(scores_table(ROWS, "title"))
    text = console.export_text()
    inner = next(line for line in text.splitlines() if "inner" in line)
    assert [cell.strip() for cell in inner.split("│")[2:5]] == ["37.5", "17.7", "2"]
    outer = next(line for line in text.splitlines() if "outer" in line)
    assert [cell.strip() for cell in outer.split("│")[2:5]] == ["75.0", "-", "1"]


def test_csv_has_the_agreed_columns(tmp_path: Path) -> None:
    write_scores(tmp_path / "subjects.csv", ROWS)
    header, *rest = (tmp_path / "subjects.csv").read_text().splitlines()
    assert header == "subject,structure,dice"
    assert rest[-1] == "b,outer,"
    assert len(rest) == len(ROWS) == pytest.approx(4)
