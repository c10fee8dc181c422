"""Voxels that nobody has labelled, from the files to the samples."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from gaborseg.data import RandomAffine, SegmentationData
from gaborseg.data.patches import RandomPatches
from gaborseg.scans import DataError
from tiny_cohort import write_nifti

Build = Callable[..., SegmentationData]


@pytest.fixture
def unlabelled(cohort: Path) -> Path:
    """A cohort in whose label maps a corner is 255."""
    for path in cohort.glob("sub-*/anat/*_dseg.nii.gz"):
        voxels = np.asarray(nib.load(path).dataobj).copy()
        voxels[:3, :3, :3] = 255
        write_nifti(path, voxels)
    return cohort


@pytest.mark.usefixtures("unlabelled")
def test_they_keep_their_label_through_cache_and_augmentation(tiny_data: Build) -> None:
    data = tiny_data(ignore=255, augmentation=RandomAffine(1.0), num_workers=0)
    assert (data.sample("sub-01")["label"] == 255).sum() == 27
    moved = data.sample("sub-01", epoch=0)["label"]
    assert set(moved.unique().tolist()) <= {0, 1, 2, 255}
    assert moved.dtype == torch.uint8


@pytest.mark.usefixtures("unlabelled")
def test_without_the_setting_they_are_refused_whatever_the_cache_holds(tiny_data: Build) -> None:
    tiny_data(ignore=255)
    with pytest.raises(DataError, match=r"_dseg\.nii\.gz must hold labels 0\.\.2, got 255"):
        tiny_data()
    with pytest.raises(DataError, match=r"must hold labels 0\.\.2 and 254, got 255"):
        tiny_data(ignore=254)


@pytest.mark.parametrize("label", [-1, 0, 2, 256])
def test_the_label_of_something_else_cannot_be_ignored(tiny_data: Build, label: int) -> None:
    with pytest.raises(ValueError, match=f"ignore must be a label from 3 to 255.*, got {label}"):
        tiny_data(ignore=label)


def test_they_are_no_structure(tiny_data: Build, cohort: Path) -> None:
    (validation,) = tiny_data().split.validation
    path = cohort / validation / "anat" / f"{validation}_dseg.nii.gz"
    write_nifti(path, np.full((8, 8, 8), 255, np.uint8))
    with pytest.raises(DataError, match="validation must hold a scan with a structure"):
        tiny_data(ignore=255)


def test_no_patch_is_centred_on_them() -> None:
    label = torch.zeros(6, 6, 6, dtype=torch.uint8)
    label[2:4] = 255
    _, patches = RandomPatches(3, 200, "label", ignore=255)(torch.rand(1, 6, 6, 6), label)
    assert not (patches[:, 1, 1, 1] == 255).any()


def test_patches_of_an_unlabelled_volume_lie_anywhere() -> None:
    label = torch.full((6, 6, 6), 255, dtype=torch.uint8)
    images, _ = RandomPatches(3, 4, "label", ignore=255)(torch.rand(1, 6, 6, 6), label)
    assert images.shape == (4, 1, 3, 3, 3)
