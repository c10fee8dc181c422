from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gaborseg.inference.inputs import find_scans, read_images
from gaborseg.scans import DataError


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
    ("files", "channels", "found"),
    [
        (["bert/T1.mgz", "bert/seg.mgz"], ["T1"], {"bert/bert": ["T1.mgz"]}),
        (
            ["bert/mri/brain.mgz", "bert/mri/aseg.mgz", "bert/mri/orig.mgz"],
            ["brain"],
            {"bert/mri/bert": ["brain.mgz"]},
        ),
        (
            ["images/a.nii.gz", "images/b.nii.gz", "labels/a.nii.gz", "labels/b.nii.gz"],
            ["image"],
            {"images/a": ["a.nii.gz"], "images/b": ["b.nii.gz"]},
        ),
        (
            ["imagesTr/a_0001.nii", "imagesTr/a_0000.nii", "labelsTr/a.nii"],
            ["0000", "0001"],
            {"imagesTr/a": ["a_0000.nii", "a_0001.nii"]},
        ),
        (
            ["s/sub-1_acq-a_T1w.nii", "s/sub-1_acq-b_FLAIR.nii", "func/sub-1_bold.nii"],
            ["T1w", "FLAIR"],
            {"s/sub-1": ["sub-1_acq-a_T1w.nii", "sub-1_acq-b_FLAIR.nii"]},
        ),
        (
            ["sub-1_acq-a_T1w.nii", "sub-1_acq-b_T1w.nii", "derivatives/x/sub-1_T1w.nii"],
            ["T1w"],
            {"sub-1_acq-a": ["sub-1_acq-a_T1w.nii"], "sub-1_acq-b": ["sub-1_acq-b_T1w.nii"]},
        ),
    ],
)
def test_folders_may_be_arranged_as_for_prepare(
    files: list[str], channels: list[str], found: dict[str, list[str]], tmp_path: Path
) -> None:
    scans = find_scans([touch(tmp_path, *files)], channels)
    assert {scan.name: [path.name for path in scan.files] for scan in scans} == found
    assert not any(scan.problem for scan in scans)


@pytest.mark.parametrize("role", ["seg", "aseg", "segmentation", "dseg", "probabilities"])
def test_nothing_that_is_called_a_label_map_is_a_scan(role: str, tmp_path: Path) -> None:
    assert names(touch(tmp_path, "a.nii", f"a_{role}.nii", f"b/{role}.nii")) == ["a"]


@pytest.mark.parametrize(
    ("files", "channels", "problem"),
    [
        (["s_T1w.nii", "z_T1w.nii", "z_T2w.nii"], ["T1w", "T2w"], "of the channel T2w, got none"),
        (["s.nii", "s.nii.gz", "z.nii"], ["T1w"], "one image of the channel T1w, got s.nii, s.nii"),
    ],
)
def test_a_scan_that_is_incomplete_or_ambiguous_does_not_hide_the_others(
    files: list[str], channels: list[str], problem: str, tmp_path: Path
) -> None:
    bad, good = find_scans([touch(tmp_path, *files)], channels)
    assert (bad.name, bad.files) == ("s", ())
    assert problem in bad.problem
    assert (good.name, good.problem, len(good.files)) == ("z", "", len(channels))


@pytest.mark.parametrize(
    ("file", "channels"), [("notes.txt", ["T1w"]), ("plain.nii", ["T1w", "T2w"])]
)
def test_a_folder_without_any_scan_is_told(file: str, channels: list[str], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no scan: expected files named \*_T1w\.nii\.gz"):
        find_scans([touch(tmp_path, file)], channels)


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
    with pytest.raises(DataError, match=r"b\.nii must have the shape \(4, 4, 4\) of a\.nii, got"):
        read_images([first, write(tmp_path / "b.nii", rng.random((4, 4, 5)))])
    with pytest.raises(DataError, match="they are up to 3 mm apart"):
        read_images(
            [first, write(tmp_path / "c.nii", rng.random((4, 4, 4)), np.diag([2, 1, 1, 1]))]
        )
    assert read_images([first, first]).voxels.shape == (2, 4, 4, 4)


def test_the_first_channel_says_where_all_lie_if_they_differ_by_less_than_a_tenth(
    tmp_path: Path,
) -> None:
    voxels = np.random.default_rng(0).random((4, 4, 4))
    first = write(tmp_path / "a.nii", voxels)
    second = write(tmp_path / "b.nii", voxels, np.eye(4) + 0.05 * np.eye(4, k=3))
    np.testing.assert_array_equal(read_images([first, second]).affine, np.eye(4))


def two_forms(path: Path) -> Path:
    image = nib.Nifti1Image(np.random.default_rng(0).random((4, 4, 4)), np.eye(4))
    image.set_qform(np.diag([-1.0, 1, 1, 1]), code=1)
    image.set_sform(np.eye(4), code=1)
    nib.save(image, path)
    return path


def test_doubts_about_a_header_are_told(tmp_path: Path) -> None:
    path = two_forms(tmp_path / "a.nii")
    (doubt,) = read_images([path]).doubts
    assert "qform and sform differ by up to 6 mm; used the sform" in doubt
    image = nib.load(path)
    image.set_qform(None, code=0)
    image.set_sform(None, code=0)
    nib.save(image, tmp_path / "b.nii")
    (doubt,) = read_images([tmp_path / "b.nii"]).doubts
    assert doubt == "its header does not know left from right"


@pytest.mark.parametrize(("forms", "left"), [("qform", -1.0), ("sform", 1.0)])
def test_the_affine_of_training_is_used_without_a_doubt(
    forms: str, left: float, tmp_path: Path
) -> None:
    images = read_images([two_forms(tmp_path / "a.nii")], forms)
    assert images.affine[0, 0] == left
    assert images.doubts == ()


def test_one_file_may_hold_all_channels_if_the_model_learnt_from_such(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii.gz", "b.nii.gz", "b_seg.nii.gz", "more/c.nii.gz")
    found = find_scans([tmp_path], ["T1", "T2"], in_one_file=True)
    assert [(scan.name, len(scan.files)) for scan in found] == [("a", 1), ("b", 1), ("more/c", 1)]
    assert find_scans([tmp_path / "a.nii.gz"], ["T1", "T2"], in_one_file=True)[0].name == "a"
    with pytest.raises(DataError, match="holds no scan"):
        find_scans([tmp_path], ["T1", "T2"])


def test_files_of_channels_are_taken_even_if_the_model_learnt_from_one(tmp_path: Path) -> None:
    touch(tmp_path, "a_T1.nii.gz", "a_T2.nii.gz")
    (scan,) = find_scans([tmp_path], ["T1", "T2"], in_one_file=True)
    assert [path.name for path in scan.files] == ["a_T1.nii.gz", "a_T2.nii.gz"]


def test_volumes_become_the_channels_that_they_were_in_training(tmp_path: Path) -> None:
    volumes = np.random.default_rng(0).normal(size=(5, 6, 7, 3)).astype(np.float32)
    path = write(tmp_path / "a.nii.gz", volumes)
    images = read_images([path], volumes=(2, 0), num_volumes=3)
    np.testing.assert_array_equal(images.voxels, np.moveaxis(volumes[..., [2, 0]], -1, 0))
    with pytest.raises(DataError, match="must have 2 volumes, got shape"):
        read_images([path], volumes=(1, 0), num_volumes=2)


def by_pattern(root: Path, pattern: str, *channels: str) -> dict[str, list[str]]:
    found = find_scans([root], channels or ("T1",), pattern=pattern)
    return {scan.name: [path.name for path in scan.files] for scan in found}


@pytest.mark.parametrize(
    ("files", "pattern", "channels", "found"),
    [
        (["a/a-T1.nii", "a/a-seg.nii", "b/b-T1.nii"], "{subject}/{subject}-T1.nii", ["T1"],
         {"sub-a": ["a-T1.nii"], "sub-b": ["b-T1.nii"]}),
        (["x/a-T2.nii", "x/a-T1.nii", "x/a-T3.nii"], "**/{subject}-{channel}.nii", ["T1", "T2"],
         {"sub-a": ["a-T1.nii", "a-T2.nii"]}),
        (["bo_1.nii", "bo_2.nii"], "{participant}_{session}.nii", ["T1"],
         {"sub-bo_ses-1": ["bo_1.nii"], "sub-bo_ses-2": ["bo_2.nii"]}),
        (["testing-images/1003_3.nii", "testing-labels/1003_3_glm.nii"],
         "**/{split}-images/{subject}_3.nii", ["T1"], {"sub-1003": ["1003_3.nii"]}),
    ],
)  # fmt: skip
def test_scans_are_found_by_the_patterns_of_prepare(
    files: list[str], pattern: str, channels: list[str], found: dict[str, list[str]], tmp_path: Path
) -> None:
    assert by_pattern(touch(tmp_path, *files), pattern, *channels) == found


def test_a_pattern_finds_files_that_hold_all_channels(tmp_path: Path) -> None:
    root = touch(tmp_path, "BRATS_1.nii.gz", "BRATS_2.nii.gz")
    found = find_scans([root], ["T1", "T2"], in_one_file=True, pattern="BRATS_{subject}.nii.gz")
    assert [(scan.name, len(scan.files)) for scan in found] == [("sub-1", 1), ("sub-2", 1)]


def test_a_scan_that_a_pattern_finds_incomplete_or_twice_is_told(tmp_path: Path) -> None:
    root = touch(tmp_path, "x/a-T1.nii", "y/a-T1.nii", "x/a-T2.nii", "x/b-T1.nii", "x/c-T1.nii")
    touch(root, "x/c-T2.nii")
    told = find_scans([root], ["T1", "T2"], pattern="*/{subject}-{channel}.nii")
    assert [scan.problem for scan in told] == [
        "must have one image of the channel T1, got a-T1.nii, a-T1.nii",
        "must have one image of the channel T2, got none",
        "",
    ]


@pytest.mark.parametrize(
    ("pattern", "channels", "problem"),
    [
        (
            "{subject}-t1.nii",
            ["T1"],
            r"none of 1; the nearest is a-T1\.nii \(after a- must come",
        ),
        ("{subject}.nii", ["T1", "T2"], r"pattern must have \{channel\} for the 2 channels T1, T2"),
        ("*-T1.nii", ["T1"], r"pattern must have \{subject\} or \{participant\}, got \*-T1\.nii"),
        ("{scan}.nii", ["T1"], "pattern may have the fields"),
        ("../{subject}.nii", ["T1"], "pattern must lead from input into its folders"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_one_line(
    pattern: str, channels: list[str], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=problem):
        by_pattern(touch(tmp_path, "a-T1.nii"), pattern, *channels)


def test_a_pattern_is_for_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii")
    with pytest.raises(DataError, match=r"input must be one folder for a pattern, got .*a\.nii"):
        find_scans([tmp_path / "a.nii"], ["T1"], pattern="{subject}.nii")


def test_images_that_lie_among_derivatives_alone_are_the_scans(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "sub-1/anat/sub-1_T1w.nii.gz",
        "derivatives/ss/sub-1/anat/sub-1_brain.nii.gz",
    )
    assert names(tmp_path, "brain") == ["derivatives/ss/sub-1/anat/sub-1"]
    assert names(tmp_path, "T1w") == ["sub-1/anat/sub-1"]


def test_channels_may_be_numbered_as_for_nnunet(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTs/a_0000.nii.gz", "imagesTs/a_0001.nii.gz")
    (scan,) = find_scans([tmp_path], ("T1w", "FLAIR"))
    assert [path.name for path in scan.files] == ["a_0000.nii.gz", "a_0001.nii.gz"]


def test_a_dash_before_the_channel_is_no_part_of_the_name(tmp_path: Path) -> None:
    touch(tmp_path, "anna-T1.nii.gz")
    assert names(tmp_path, "T1") == ["anna"]
