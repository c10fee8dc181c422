"""Four dimensions, headers of label maps, names of channels."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gaborseg.interface import UserError
from gaborseg.scans import DataError
from preparing import AFFINE, box, description_of, image, prepare, prepared, problems_of, save

LABELS = box(slice(1, 4), slice(1, 5), slice(2, 6))
NAMES = ["FLAIR", "T1w", "T2w"]


def write_four_dimensions(root: Path) -> Path:
    for number, case in enumerate("abcd"):
        save(root / f"imagesTr/{case}.nii.gz", image(number, 3))
        save(root / f"labelsTr/{case}.nii.gz", LABELS)
    content = {"modality": dict(enumerate(NAMES)), "labels": {"0": "background", "1": "oedema"}}
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def write_two_folders(root: Path, **affines: np.ndarray) -> Path:
    for number, case in enumerate("abcd"):
        save(root / f"images/{case}.nii.gz", image(number))
        save(root / f"labels/{case}.nii.gz", LABELS, affines.get(case, AFFINE))
    return root


def test_volumes_of_four_dimensions_become_channels(tmp_path: Path) -> None:
    source, output = write_four_dimensions(tmp_path / "in"), tmp_path / "out"
    prepare(source, output, volumes=NAMES)
    assert description_of(output)["channels"] == NAMES
    means = [prepared(output, "sub-a", name).mean() for name in NAMES]
    truth = image(0, 3).mean(axis=(0, 1, 2))
    assert np.argsort(means).tolist() == np.argsort(truth).tolist()


def test_some_volumes_can_be_chosen(tmp_path: Path) -> None:
    source = write_four_dimensions(tmp_path / "in")
    prepare(source, tmp_path / "all", volumes=NAMES)
    prepare(source, tmp_path / "out", volumes=NAMES, channels=["T2w", "FLAIR"])
    assert description_of(tmp_path / "out")["channels"] == ["T2w", "FLAIR"]
    for name in ("T2w", "FLAIR"):
        both = (prepared(tmp_path / out, "sub-b", name) for out in ("all", "out"))
        np.testing.assert_array_equal(*both)


def test_dataset_json_names_structures_and_volumes(tmp_path: Path) -> None:
    source, output = write_four_dimensions(tmp_path / "in"), tmp_path / "out"
    prepare(source, output, labels=str(source / "dataset.json"))
    assert description_of(output)["channels"] == NAMES
    assert description_of(output)["structures"] == ["oedema"]
    prepare(source, output, labels=str(source / "dataset.json"))  # nothing is left to be done


def test_dataset_json_names_numbered_files(tmp_path: Path) -> None:
    source, output = write_two_folders(tmp_path / "in"), tmp_path / "out"
    for number, case in enumerate("abcd"):
        (source / f"images/{case}.nii.gz").rename(source / f"images/{case}_0000.nii.gz")
        save(source / f"images/{case}_0001.nii.gz", 10 * image(number + 10))
    names = {"channel_names": {"0": "T1", "1": "T2"}, "labels": {"background": 0, "liver": 1}}
    (source / "dataset.json").write_text(json.dumps(names))
    prepare(source, output, labels=str(source / "dataset.json"), channels=["T2", "T1"])
    assert description_of(output)["channels"] == ["T2", "T1"]
    assert prepared(output, "sub-a", "T2").mean() > 5 * prepared(output, "sub-a", "T1").mean()


def test_a_single_channel_is_called_as_dataset_json_says(tmp_path: Path) -> None:
    source, output = write_two_folders(tmp_path / "in"), tmp_path / "out"
    content = {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "liver"}}
    (source / "dataset.json").write_text(json.dumps(content))
    prepare(source, output, labels=str(source / "dataset.json"))
    assert description_of(output)["channels"] == ["CT"]


def test_scans_that_are_numbered_themselves_have_no_numbered_channels(tmp_path: Path) -> None:
    source, output = write_two_folders(tmp_path / "in"), tmp_path / "out"
    for folder in ("images", "labels"):
        for number, case in enumerate("abcd"):
            path = source / folder / f"{case}.nii.gz"
            path.rename(path.with_name(f"amos_{number:04d}.nii.gz"))
    content = {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "liver"}}
    (source / "dataset.json").write_text(json.dumps(content))
    prepare(source, output, labels=str(source / "dataset.json"))
    assert (output / "sub-amos_0000/anat/sub-amos_0000_CT.nii.gz").is_file()


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"volumes": ["T1w", "T2w"]}, "a.nii.gz must have 2 volumes, got shape (6, 7, 8, 3)"),
        ({}, "a.nii.gz must have 3 dimensions, got 4 with shape (6, 7, 8, 3)"),
    ],
)
def test_other_numbers_of_volumes_are_problems(
    tmp_path: Path, settings: dict[str, list[str]], problem: str
) -> None:
    source = write_four_dimensions(tmp_path / "in")
    with pytest.raises(UserError, match="4 problems"):
        prepare(source, tmp_path / "out", **settings)
    assert problem in problems_of(tmp_path / "out")[0]


@pytest.mark.parametrize(
    ("volumes", "message"),
    [
        (["T1w", "T1w"], "volumes must differ from one another, got T1w, T1w"),
        (["a/b"], "volumes must be names of images, got 'a/b'"),
    ],
)
def test_volumes_need_names_of_their_own(tmp_path: Path, volumes: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        prepare(write_four_dimensions(tmp_path / "in"), tmp_path / "out", volumes=volumes)


def test_a_data_set_of_other_volumes_is_not_filled(tmp_path: Path) -> None:
    source = write_four_dimensions(tmp_path / "in")
    prepare(source, tmp_path / "out", volumes=NAMES)
    with pytest.raises(DataError, match="was prepared in another way"):
        prepare(source, tmp_path / "out", volumes=["FLAIR", "T2w", "T1w"], channels=NAMES)


MOVED = AFFINE + np.outer([1, 0, 0, 0], [0, 0, 0, 9.0])


def test_a_label_map_may_lie_where_its_image_lies(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = write_two_folders(tmp_path / "in", b=MOVED)
    prepare(source, tmp_path / "out", geometry="of_image")
    assert "the label map of sub-b lies up to 9 mm from its image" in caplog.text
    assert "sub-a lies" not in caplog.text
    right, moved = (prepared(tmp_path / "out", f"sub-{case}", "dseg") for case in "ab")
    np.testing.assert_array_equal(right, moved)
    header = nib.load(tmp_path / "out/sub-b/anat/sub-b_dseg.nii.gz").affine
    np.testing.assert_allclose(
        header, nib.load(tmp_path / "out/sub-b/anat/sub-b_image.nii.gz").affine
    )


def test_a_label_map_elsewhere_is_told_of_that_choice(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="1 problems"):
        prepare(write_two_folders(tmp_path / "in", b=MOVED), tmp_path / "out")
    text = (tmp_path / "problems.csv").read_text()
    assert "if its voxels are right: geometry=of_image" in text


def test_a_label_map_of_another_shape_is_never_moved(tmp_path: Path) -> None:
    source = write_two_folders(tmp_path / "in")
    save(source / "labels/b.nii.gz", LABELS[1:])
    with pytest.raises(UserError, match="must have the shape"):
        prepare(source, tmp_path / "out", geometry="of_image")


def test_a_data_set_from_before_these_choices_can_be_filled(tmp_path: Path) -> None:
    source, output = write_two_folders(tmp_path / "in"), tmp_path / "out"
    prepare(source, output)
    path = output / "preparation.json"
    recipe = json.loads(path.read_text())
    for key in ("geometry", "volumes", "overlap"):
        del recipe[key]
    path.write_text(json.dumps(recipe))
    prepare(source, output)
    with pytest.raises(DataError, match=r"in another way \(geometry: agree -> of_image\)"):
        prepare(source, output, geometry="of_image")


def test_axes_that_are_not_at_right_angles_are_read(tmp_path: Path) -> None:
    """ITK refuses such NIfTI files; nibabel reads them."""
    sheared = AFFINE.copy()
    sheared[0, 1] = 0.3
    source = write_two_folders(tmp_path / "in", **dict.fromkeys("abcd", sheared))
    for number, case in enumerate("abcd"):
        save(source / f"images/{case}.nii.gz", image(number), sheared)
    prepare(source, tmp_path / "out")
    affine = nib.load(tmp_path / "out/sub-a/anat/sub-a_image.nii.gz").affine
    assert abs((affine[:3, 0] / np.linalg.norm(affine[:3, 0])) @ affine[:3, 1]) > 0.1
