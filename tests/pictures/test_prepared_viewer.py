"""The viewer that ``prepare`` writes beside its contact sheet."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaborseg.data import Case, case_of
from gaborseg.pictures import prepared_viewer
from gaborseg.pictures.viewer import prepared
from packed_volumes import labels_of
from tiny_cohort import SHAPE, write_cohort, write_nifti

Write = Callable[[str], dict[str, Any]]
STRUCTURES = ("inner", "outer")


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    root = write_cohort(tmp_path_factory.mktemp("cohort"), num_subjects=25)
    return [case_of(root, f"sub-{number:02d}", ("T1w",)) for number in range(1, 26)]


@pytest.fixture
def write(cases: list[Case], tmp_path: Path) -> Write:
    """What the viewer of a choice holds."""

    def run(choice: str) -> dict[str, Any]:
        path = prepared_viewer(tmp_path, cases, STRUCTURES, choice, processes=0)
        assert path == tmp_path / "viewer.html"
        found = re.search(r'id="book">(.*?)</script>', path.read_text(encoding="utf-8"))
        assert found is not None
        book: dict[str, Any] = json.loads(found[1])
        return book

    return run


def names(book: dict[str, Any]) -> list[str]:
    return [case["name"] for case in book["cases"]]


def test_all_subjects_are_there_if_wanted(write: Write, cases: list[Case]) -> None:
    book = write("all")
    assert names(book) == [case.subject for case in cases]
    assert book["structures"] == list(STRUCTURES)


def test_some_subjects_are_twelve_from_the_first_to_the_last(write: Write) -> None:
    shown = [int(name.removeprefix("sub-")) for name in names(write("some"))]
    assert (len(shown), shown[0], shown[-1]) == (12, 1, 25)
    assert set(np.diff(shown)) == {2, 3}


def test_without_a_wish_there_is_no_file(cases: list[Case], tmp_path: Path) -> None:
    assert prepared_viewer(tmp_path, cases, STRUCTURES, "none") is None
    assert list(tmp_path.iterdir()) == []


def test_of_many_subjects_fewer_voxels_are_shown(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared, "_MOST_BYTES", 25 * 4.5**3)
    assert {(case["step"], *case["shape"]) for case in write("all")["cases"]} == {(2, 4, 4, 4)}


def test_what_nobody_has_labelled_is_background(tmp_path: Path) -> None:
    stem = f"{tmp_path}/a/anat/a"
    labels = np.array([0, 1, 2, 255], np.uint8).repeat(128).reshape(SHAPE)
    write_nifti(Path(f"{stem}_T1w.nii.gz"), np.arange(512.0, dtype=np.float32).reshape(SHAPE))
    write_nifti(Path(f"{stem}_dseg.nii.gz"), labels)
    case = prepared._packed(len(STRUCTURES), 160, case_of(tmp_path, "a", ("T1w",)))
    np.testing.assert_array_equal(labels_of(case), np.where(labels == 255, 0, labels))
