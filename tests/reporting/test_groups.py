"""Scores by the columns of ``participants.tsv``."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from gaborseg.reporting.subjects.groups import group_tables
from gaborseg.reporting.tables import Table
from gaborseg.study import compute
from synthetic_runs import FEW_STRUCTURES, split_of, study_of, write_run

SUBJECTS = tuple(f"s{number:02d}" for number in range(40))
TESTED = split_of(0, SUBJECTS)["test"]  # 12 of them
DICE = np.linspace(0.9, 0.5, len(TESTED))


def tables_of(
    folder: Path, columns: Mapping[str, Sequence[object]], dice: np.ndarray = DICE
) -> list[Table]:
    """The tables of one run whose test subjects have these values, and Dice that falls."""
    data = folder / "data"
    data.mkdir()
    lines = ["\t".join(["participant_id", *columns])]
    lines += ["\t".join(map(str, row)) for row in zip(TESTED, *columns.values(), strict=True)]
    (data / "participants.tsv").write_text("\n".join(lines) + "\n")
    write_run(
        folder / "runs/one",
        {"dice": np.tile(dice[:, None], (1, 2))},
        structures=FEW_STRUCTURES,
        subjects=SUBJECTS,
        data={"root": str(data)},
    )
    return group_tables(compute(study_of(folder / "runs")))


def test_people_are_grouped_by_what_is_told_of_them(tmp_path: Path) -> None:
    sex = ["m", "f"] * 6
    (table,) = tables_of(tmp_path, {"sex": sex})
    assert table.name == "dice_by_sex"
    for row, own in zip(table.rows, (DICE[1::2], DICE[::2]), strict=True):
        assert row[1] == 6
        assert row[2] == pytest.approx((own.mean(), own.std(ddof=1)))
    assert [row[0] for row in table.rows] == ["f", "m"]
    p = stats.kruskal(DICE[::2], DICE[1::2]).pvalue
    assert f"Kruskal-Wallis test of sex: mixed · PCC p = {p:.2g}." in table.note


def test_many_numbers_are_cut_into_quartiles(tmp_path: Path) -> None:
    age = [*range(20, 20 + len(TESTED))]
    (table,) = tables_of(tmp_path, {"age": age})
    names = ["20 to 22", "23 to 25", "26 to 28", "29 to 31"]
    assert [row[:2] for row in table.rows] == [(name, 3) for name in names]
    means = [row[2].mean for row in table.rows]
    np.testing.assert_allclose(means, DICE.reshape(4, 3).mean(axis=1))
    assert "rank correlation with age: mixed · PCC rho = -1.00" in table.note


def test_few_numbers_are_groups_of_their_own(tmp_path: Path) -> None:
    (table,) = tables_of(tmp_path, {"field": [1.5, 3.0] * 6})
    assert [row[0] for row in table.rows] == ["1.5", "3"]


def test_scans_of_one_person_count_once(tmp_path: Path) -> None:
    person = [f"p{i // 2}" for i in range(len(TESTED))]
    (table,) = tables_of(tmp_path, {"participant": person, "sex": ["f"] * 6 + ["m"] * 6})
    people = DICE.reshape(6, 2).mean(axis=1)
    assert [row[1] for row in table.rows] == [3, 3]
    assert table.rows[0][2] == pytest.approx((people[:3].mean(), people[:3].std(ddof=1)))


@pytest.mark.parametrize(
    "values",
    [["x"] * 12, [f"site{i}" for i in range(12)], ["n/a"] * 12],
    ids=["one value", "as many values as people", "nothing told"],
)
def test_what_groups_nobody_makes_no_table(values: list[str], tmp_path: Path) -> None:
    assert tables_of(tmp_path, {"site": values}) == []


def test_equal_scores_are_not_tested(tmp_path: Path) -> None:
    (table,) = tables_of(tmp_path, {"sex": ["f", "m"] * 6}, np.full(len(TESTED), 0.5))
    assert table.note.endswith("of means over structures.")


def test_a_column_of_any_name_makes_a_file_of_a_safe_name(tmp_path: Path) -> None:
    (table,) = tables_of(tmp_path, {"../age [y]": [*range(12)]})
    assert table.name == "dice_by__age_y_"
    assert table.title.endswith("by ../age [y]")


def test_columns_of_one_name_but_for_signs_make_tables_of_other_names(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, {"年龄": ["f", "m"] * 6, "性别": ["f", "m"] * 6})
    assert [table.name for table in tables] == ["dice_by__", "dice_by___2"]


def test_scores_of_people_of_one_age_are_correlated_with_nothing(tmp_path: Path) -> None:
    tables_of(tmp_path, {"age": [30] * 6 + [40] * 6})
    run = tmp_path / "runs/other"
    shutil.copytree(tmp_path / "runs/one", run)
    text = (run / "config.yaml").read_text().replace("PCCLoss", "DiceLoss")
    (run / "config.yaml").write_text(text)
    text = (run / "run.json").read_text().replace('"loss": "pcc"', '"loss": "dice"')
    (run / "run.json").write_text(text)
    lines = (run / "subjects.csv").read_text().splitlines(keepends=True)
    (run / "subjects.csv").write_text("".join(lines[:13]))
    (table,) = group_tables(compute(study_of(tmp_path / "runs")))
    assert "mixed · Dice has one value" in table.note
