"""Scans in which nobody has looked for some structures, from dataset.json to the samples."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from gaborseg.data import SegmentationData
from gaborseg.scans import DataError
from tiny_cohort import write_nifti

Build = Callable[..., SegmentationData]


def tell(cohort: Path, unlabelled: Any) -> None:
    path = cohort / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"unlabelled": unlabelled}))


def erase(cohort: Path, subject: str, label: int) -> None:
    path = cohort / subject / "anat" / f"{subject}_dseg.nii.gz"
    voxels = np.asarray(nib.load(path).dataobj)
    write_nifti(path, np.where(voxels == label, 0, voxels).astype(np.uint8))


def test_samples_say_what_nobody_has_looked_for(tiny_data: Build, cohort: Path) -> None:
    tell(cohort, {"sub-02": ["outer"]})
    erase(cohort, "sub-02", 2)
    data = tiny_data(num_workers=0)
    assert data.sample("sub-02")["unlabelled"].tolist() == [False, False, True]
    assert data.sample("sub-01")["unlabelled"].tolist() == [False] * 3


def test_of_patches_each_says_it(tiny_data: Build, cohort: Path) -> None:
    first, *_ = tiny_data().split.train
    tell(cohort, {first: ["outer"]})
    erase(cohort, first, 2)
    data = tiny_data(batch_size=2, patch_size=4, patches_per_volume=3, num_workers=0)
    place, seen = data.subjects.index(first), []
    for batch in data.loader("train"):
        assert batch["unlabelled"].shape == (6, 3)
        told, indices = batch["unlabelled"][:, 2].tolist(), batch["index"].tolist()
        assert told == [index == place for index in indices]
        seen += told
    assert sum(seen) == 3


def test_data_without_any_say_nothing(tiny_data: Build) -> None:
    assert "unlabelled" not in tiny_data(num_workers=0).sample("sub-01")


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (["outer"], "unlabelled must map subjects to lists of structures"),
        ({"sub-02": "outer"}, "unlabelled must map subjects to lists of structures"),
        ({"sub-02": ["liver"]}, "unlabelled must name structures of the data set, got 'liver'"),
        ({"sub-99": ["outer"]}, "unlabelled names sub-99, which is no subject"),
        ({"sub-02": ["outer"]}, r"sub-02_dseg\.nii\.gz must not hold outer, which dataset\.json"),
    ],
)
def test_what_cannot_be_is_refused(tiny_data: Build, cohort: Path, told: Any, message: str) -> None:
    tell(cohort, told)
    with pytest.raises(DataError, match=message):
        tiny_data()


def test_a_structure_must_be_labelled_in_some_training_scan(tiny_data: Build, cohort: Path) -> None:
    train = tiny_data().split.train
    tell(cohort, {subject: ["outer"] for subject in train})
    for subject in train:
        erase(cohort, subject, 2)
    with pytest.raises(DataError, match="train must hold a scan in which outer is labelled"):
        tiny_data()
