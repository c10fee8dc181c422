import struct
from pathlib import Path

import numpy as np
import pytest

from gaborseg.data import case_of
from gaborseg.pictures import contact_sheet, contact_sheets
from gaborseg.pictures.contact_sheet import planes, tile
from tiny_cohort import SHAPE, write_cohort


def png_size(path: Path) -> tuple[int, int]:
    return struct.unpack(">II", path.read_bytes()[16:24])


def test_planes_are_upright_and_not_mirrored() -> None:
    volume = np.zeros((4, 4, 4))
    volume[3, 1, 2] = 1  # right, posterior, superior of the middle
    sagittal, coronal, axial = np.split(planes(volume, (3, 1, 2)), 3, axis=1)
    assert np.argwhere(sagittal).tolist() == [[1, 1]]  # row from the top, column
    assert np.argwhere(coronal).tolist() == [[1, 3]]
    assert np.argwhere(axial).tolist() == [[2, 3]]


def test_a_tile_shows_the_middle_of_what_is_labelled(tmp_path: Path) -> None:
    case = case_of(write_cohort(tmp_path, num_subjects=1), "sub-01", ("T1w",))
    grey, labels = tile(case)
    assert grey.shape == labels.shape == (SHAPE[0], 3 * SHAPE[0])
    assert (grey.min(), grey.max()) == (0, 1)
    assert set(np.unique(labels)) == {0, 1, 2}


def test_many_subjects_go_to_several_sheets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contact_sheet, "COLUMNS", 2)
    monkeypatch.setattr(contact_sheet, "ROWS", 2)
    root = write_cohort(tmp_path / "cohort", num_subjects=5)
    cases = [case_of(root, f"sub-0{number}", ("T1w",)) for number in range(1, 6)]
    first, second = contact_sheets(tmp_path, cases, processes=0)
    assert (first.name, second.name) == ("contact_sheet.png", "contact_sheet_2.png")
    assert png_size(first)[0] == pytest.approx(2 * png_size(second)[0], abs=4)
    assert sorted(path.name for path in tmp_path.glob("*.png")) == [first.name, second.name]
