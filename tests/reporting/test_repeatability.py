"""Volumes of one person on two scans."""

from collections.abc import Mapping
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
PAIRS = {scan: f"p{i // 2}" for i, scan in enumerate(TESTED)}


def tables_of(
    folder: Path,
    people: Mapping[str, str],
    volumes: NDArray[np.float64],
    splits: Mapping[int, str] = {0: "pcc"},
) -> list[Table]:
    """The tables of runs of these splits and losses; people have the scans that are told."""
    data = folder / "data"
    data.mkdir()
    lines = ["participant_id\tparticipant", *map("\t".join, people.items())]
    (data / "participants.tsv").write_text("\n".join(lines) + "\n")
    for split, loss in splits.items():
        scores = {"dice": np.full((12, 2), 0.5), "volume": volumes, "true_volume": volumes**2}
        write_run(
            folder / f"runs/{split}",
            scores,
            loss=loss,
            split=split,
            structures=FEW_STRUCTURES,
            subjects=SUBJECTS,
            data={"root": str(data)},
        )
    return repeatability_tables(compute(study_of(folder / "runs")))


def test_a_table_has_truth_and_prediction_of_people_scanned_twice(tmp_path: Path) -> None:
    volumes = np.random.default_rng(0).uniform(50, 100, (12, 2))
    (table,) = tables_of(tmp_path, PAIRS, volumes)
    assert [column.heading for column in table.columns] == [
        "structure",
        "truth [%]",
        "mixed · PCC [%]",
    ]
    for column, found in ((1, volumes**2), (2, volumes)):
        pairs = found.reshape(6, 2, 2)
        ratios = pairs.std(axis=1, ddof=1) / pairs.mean(axis=1)
        expected = np.sqrt((ratios**2).mean(axis=0))
        np.testing.assert_allclose([row[column] for row in table.rows], expected)
    assert table.note.startswith("Of 6 people")


def test_configurations_that_tested_other_people_have_truths_of_their_own(tmp_path: Path) -> None:
    others = split_of(1, SUBJECTS)["test"]
    people = PAIRS | {scan: f"q{i // 2}" for i, scan in enumerate(others) if scan not in PAIRS}
    volumes = np.random.default_rng(0).uniform(50, 100, (12, 2))
    (table,) = tables_of(tmp_path, people, volumes, {0: "pcc", 1: "dice"})
    assert [column.heading for column in table.columns[1:3]] == [
        "mixed · PCC [%, truth]",
        "mixed · Dice [%, truth]",
    ]


def test_people_scanned_once_make_no_table(tmp_path: Path) -> None:
    assert tables_of(tmp_path, {scan: scan for scan in TESTED}, np.ones((12, 2))) == []


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
