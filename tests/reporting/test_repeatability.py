"""Volumes of one person on two scans."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gaborseg.reporting.subjects.repeatability import (
    repeatability_tables,
    within_person_variation,
)
from gaborseg.reporting.tables import Table
from gaborseg.study import compute
from synthetic_runs import FEW_STRUCTURES, split_of, study_of, write_run

SUBJECTS = tuple(f"s{number:02d}" for number in range(40))
TESTED = split_of(0, SUBJECTS)["test"]  # 12 of them
PAIRS = [f"p{i // 2}" for i in range(len(TESTED))]


def tables_of(folder: Path, people: list[str], volumes: NDArray[np.float64]) -> list[Table]:
    """The tables of one run whose test subjects are scans of these people."""
    data = folder / "data"
    data.mkdir()
    lines = ["participant_id\tparticipant", *map("\t".join, zip(TESTED, people, strict=True))]
    (data / "participants.tsv").write_text("\n".join(lines) + "\n")
    scores = {"dice": np.full((12, 2), 0.5), "volume": volumes, "true_volume": volumes[::-1]}
    write_run(
        folder / "runs/one",
        scores,
        structures=FEW_STRUCTURES,
        subjects=SUBJECTS,
        data={"root": str(data)},
    )
    return repeatability_tables(compute(study_of(folder / "runs")))


def test_a_table_has_truth_and_prediction_of_people_scanned_twice(tmp_path: Path) -> None:
    volumes = np.random.default_rng(0).uniform(50, 100, (12, 2))
    (table,) = tables_of(tmp_path, PAIRS, volumes)
    pairs = volumes.reshape(6, 2, 2)
    ratios = pairs.std(axis=1, ddof=1) / pairs.mean(axis=1)
    expected = np.sqrt((ratios**2).mean(axis=0))
    assert [column.heading for column in table.columns] == [
        "structure",
        "truth [%]",
        "mixed · PCC [%]",
    ]
    np.testing.assert_allclose([row[2] for row in table.rows], expected)
    np.testing.assert_allclose([row[1] for row in table.rows], expected)  # the same, reversed
    assert table.note.startswith("Of 6 people")


def test_people_scanned_once_make_no_table(tmp_path: Path) -> None:
    assert tables_of(tmp_path, [*TESTED], np.ones((12, 2))) == []


def test_runs_without_volumes_make_no_table(tmp_path: Path) -> None:
    assert tables_of(tmp_path, PAIRS, np.full((12, 2), np.nan)) == []


def test_the_same_volume_twice_does_not_vary() -> None:
    volumes = np.array([[[3.0], [3.0]]])
    assert within_person_variation(volumes, ["a", "a"]) == 0


def test_runs_are_averaged_within_a_person_before_people_are() -> None:
    none, some = [[10.0], [10.0]], [[8.0], [12.0]]  # variance / mean^2: 0 and 0.08
    missing = [[np.nan], [np.nan]]
    volumes = np.array([none + some, some + missing])
    found = within_person_variation(volumes, ["a", "a", "b", "b"])
    assert found == pytest.approx(np.sqrt((0.04 + 0.08) / 2))


@pytest.mark.parametrize("volumes", [[0.0, 0.0], [5.0, np.nan], [np.nan, np.nan]])
def test_what_was_not_found_twice_has_no_variation(volumes: list[float]) -> None:
    found = within_person_variation(np.array(volumes).reshape(1, 2, 1), ["a", "a"])
    assert np.isnan(found).all()


def test_three_scans_have_the_standard_deviation_of_all() -> None:
    volumes = np.array([7.0, 8.0, 12.0])
    found = within_person_variation(volumes.reshape(1, 3, 1), ["a"] * 3)
    assert found == pytest.approx(volumes.std(ddof=1) / volumes.mean())
