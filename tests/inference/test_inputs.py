from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from src.data import DataError
from src.inference import find_scans
from src.inference.inputs import read_images


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def write(path: Path, voxels: np.ndarray, affine: np.ndarray | None = None) -> Path:
    nib.save(nib.Nifti1Image(voxels, np.eye(4) if affine is None else affine), path)
    return path


def names(root: Path, *channels: str) -> list[str]:
    return [scan.name for scan in find_scans([root], channels or ("T1w",))]


def test_every_image_is_a_scan_but_label_maps_and_hidden_files(tmp_path: Path) -> None:
    touch(
        tmp_path, "a.nii.gz", "b.nii", "c/d.mgz", "e.nrrd", "a_dseg.nii.gz", ".x.nii", "notes.txt"
    )
    assert names(tmp_path) == ["a", "b", "c/d", "e"]


def test_names_of_the_channel_win_over_other_images(tmp_path: Path) -> None:
    root = touch(tmp_path, "sub-1/sub-1_T1w.nii.gz", "sub-1/sub-1_FLAIR.nii.gz", "other.nii.gz")
    (scan,) = find_scans([root], ["T1w"])
    assert scan.name == "sub-1/sub-1"
    assert scan.files == (root / "sub-1/sub-1_T1w.nii.gz",)


def test_channels_are_grouped_in_the_models_order(tmp_path: Path) -> None:
    root = touch(tmp_path, "s_T2w.nii.gz", "s_T1w.nii")
    (scan,) = find_scans([root], ["T2w", "T1w"])
    assert [path.name for path in scan.files] == ["s_T2w.nii.gz", "s_T1w.nii"]


def test_names_may_hold_spaces_and_any_letters(tmp_path: Path) -> None:
    assert names(touch(tmp_path, "Müller, J. = 3.nii.gz")) == ["Müller, J. = 3"]


@pytest.mark.parametrize(
    ("files", "channels", "problem"),
    [
        (["notes.txt"], ["T1w"], r"holds no scan: expected files named \*_T1w\.nii\.gz"),
        (["s_T1w.nii"], ["T1w", "T2w"], "s has no image of the channel T2w"),
        (["s.nii", "s.nii.gz"], ["T1w"], "must differ in more than their ending"),
        (["plain.nii"], ["T1w", "T2w"], "holds no scan"),
    ],
)
def test_what_is_missing_or_ambiguous_is_told(
    files: list[str], channels: list[str], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=problem):
        find_scans([touch(tmp_path, *files)], channels)


def test_the_files_of_one_scan_can_be_listed(tmp_path: Path) -> None:
    touch(tmp_path, "a_T1w.nii.gz", "b.nii.gz")
    paths = [tmp_path / "a_T1w.nii.gz", tmp_path / "b.nii.gz"]
    (scan,) = find_scans(paths, ["T1w", "T2w"])
    assert (scan.name, scan.files) == ("a", tuple(paths))
    with pytest.raises(DataError, match="must be a file for each of T1w: "):
        find_scans(paths, ["T1w"])
    with pytest.raises(DataError, match="is missing"):
        find_scans([tmp_path / "none.nii"], ["T1w"])
    with pytest.raises(DataError, match="must be one folder, or the files of one scan"):
        find_scans([tmp_path, paths[0]], ["T1w", "T2w"])


def test_images_come_scaled_and_with_a_fourth_axis_of_one(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(0, 255, (4, 5, 6, 1)).astype(np.uint8)
    image = nib.Nifti1Image(voxels, np.eye(4))
    image.header.set_slope_inter(0.5, 3)
    nib.save(image, tmp_path / "a.nii.gz")
    read = read_images([tmp_path / "a.nii.gz"]).voxels
    np.testing.assert_allclose(read.numpy(), voxels[..., 0][None] * 0.5 + 3)


@pytest.mark.parametrize(
    ("voxels", "problem"),
    [
        (np.full((4, 4, 4), 7.0), "must not be constant"),
        (np.array([np.nan] + [1.0] * 63).reshape(4, 4, 4), "must be finite, got 1 NaN or Inf"),
        (np.zeros((4, 4, 4, 3)), "must have 3 dimensions, got 4"),
    ],
)
def test_useless_images_are_refused(voxels: np.ndarray, problem: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=problem):
        read_images([write(tmp_path / "a.nii", voxels)])


def test_channels_must_share_a_grid(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    first = write(tmp_path / "a.nii", rng.random((4, 4, 4)))
    with pytest.raises(DataError, match=r"b\.nii must have the shape of a\.nii"):
        read_images([first, write(tmp_path / "b.nii", rng.random((4, 4, 5)))])
    with pytest.raises(DataError, match="must share an affine, off by 1 mm"):
        read_images(
            [first, write(tmp_path / "c.nii", rng.random((4, 4, 4)), np.diag([2, 1, 1, 1]))]
        )
    assert read_images([first, first]).voxels.shape == (2, 4, 4, 4)


def test_doubts_about_a_header_are_told(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.random.default_rng(0).random((4, 4, 4)), np.eye(4))
    image.set_qform(np.diag([-1.0, 1, 1, 1]), code=1)
    image.set_sform(np.eye(4), code=1)
    nib.save(image, tmp_path / "a.nii")
    (doubt,) = read_images([tmp_path / "a.nii"]).doubts
    assert "qform and sform differ by 2 mm; used the sform" in doubt
    image.set_qform(None, code=0)
    image.set_sform(None, code=0)
    nib.save(image, tmp_path / "b.nii")
    assert read_images([tmp_path / "b.nii"]).doubts == ["its header does not know left from right"]
