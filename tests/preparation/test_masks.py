from pathlib import Path

import numpy as np
import pytest

from gaborseg.data import SegmentationData
from gaborseg.interface import UserError
from gaborseg.preparation.masks import discover_masks
from gaborseg.scans import DataError
from preparing import (
    AFFINE,
    SHAPE,
    box,
    description_of,
    image,
    prepare,
    prepared,
    problems_of,
    save,
)

LIVER, SPLEEN = box(slice(1, 3), slice(1, 5), slice(1, 6)), box(slice(3, 5), slice(1, 5))


def write_masks(root: Path, subject: str = "s1", **masks: np.ndarray) -> Path:
    save(root / subject / "ct.nii.gz", image(len(subject) + ord(subject[-1])))
    for name, mask in ({"liver": LIVER, "spleen": SPLEEN} | masks).items():
        save(root / subject / "segmentations" / f"{name}.nii.gz", mask)
    return root


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for subject in ("s1", "s2", "s3", "s4"):
        write_masks(tmp_path / "in", subject)
    return tmp_path / "in"


def run(source: Path, **settings: object) -> Path:
    output = source.with_name("out")
    prepare(source, output, masks="segmentations", **settings)
    return output


def test_masks_become_one_label_map_in_the_order_of_their_names(source: Path) -> None:
    output = run(source)
    assert description_of(output)["structures"] == ["liver", "spleen"]
    assert description_of(output)["channels"] == ["ct"]
    labels = prepared(output, "sub-s1", "dseg")
    assert set(np.unique(labels)) == {0, 1, 2}
    assert np.argwhere(labels == 1)[:, 0].mean() < np.argwhere(labels == 2)[:, 0].mean()


def test_structures_choose_masks_and_order_them(source: Path) -> None:
    output = run(source, structures=["spleen"])
    assert description_of(output)["structures"] == ["spleen"]
    assert set(np.unique(prepared(output, "sub-s1", "dseg"))) == {0, 1}


def test_masks_of_any_value_are_masks(source: Path) -> None:
    save(source / "s1/segmentations/liver.nii.gz", LIVER * np.int16(255))
    assert (prepared(run(source), "sub-s1", "dseg") == 1).any()


def test_a_missing_mask_is_told_and_its_structure_unlabelled(
    source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (source / "s2/segmentations/spleen.nii.gz").unlink()
    output = run(source)
    assert "spleen has no mask in 1 scans, sub-s2 first" in caplog.text
    assert description_of(output)["unlabelled"] == {"sub-s2": ["spleen"]}
    cases = SegmentationData.from_folder(output, output / "cache").source.dataset().cases
    assert [case.unlabelled for case in cases] == [(), (2,), (), ()]


def test_an_empty_mask_says_that_nothing_is_there(
    source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(source / "s2/segmentations/spleen.nii.gz", np.zeros(SHAPE, np.uint8))
    output = run(source)
    assert "unlabelled" not in description_of(output)
    assert "1 of 8 masks are empty, that of spleen in sub-s2 first" in caplog.text


def test_overlapping_masks_are_a_problem(source: Path) -> None:
    save(source / "s1/segmentations/spleen.nii.gz", LIVER | SPLEEN)
    with pytest.raises(UserError, match="1 problems"):
        run(source)
    wanted = "s1/segmentations holds masks that overlap: liver and spleen, in 40 voxels"
    assert problems_of(source.with_name("out")) == [wanted]


def test_the_last_of_overlapping_masks_may_win(
    source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(source / "s1/segmentations/spleen.nii.gz", LIVER | SPLEEN)
    output = run(source, overlap="last", structures=["spleen", "liver"])
    assert "masks of sub-s1 overlap in 40 voxels" in caplog.text
    assert {*np.unique(prepared(output, "sub-s1", "dseg"))} == {0, 1, 2}


@pytest.mark.parametrize(
    ("mask", "problem"),
    [
        (LIVER + SPLEEN * 2, "liver.nii.gz must be a mask, of one value beside 0, got 1 to 2"),
        (LIVER * np.float32(0.5), "liver.nii.gz must hold integers, got 0.5"),
        (LIVER[1:], "spleen.nii.gz must have the shape (5, 7, 8) of liver.nii.gz"),
    ],
)
def test_what_is_no_mask_is_told(source: Path, mask: np.ndarray, problem: str) -> None:
    save(source / "s1/segmentations/liver.nii.gz", mask)
    with pytest.raises(UserError, match="1 problems"):
        run(source)
    assert problem in problems_of(source.with_name("out"))[0]


def test_masks_elsewhere_than_the_image_are_told(source: Path) -> None:
    for name, mask in (("liver", LIVER), ("spleen", SPLEEN)):
        save(source / f"s1/segmentations/{name}.nii.gz", mask, AFFINE + np.eye(4, k=3))
    with pytest.raises(UserError, match=r"1 problems.* must lie where ct\.nii\.gz lies"):
        run(source)


def test_a_mask_that_has_changed_since_is_a_problem(source: Path) -> None:
    run(source)
    save(source / "s1/segmentations/spleen.nii.gz", LIVER)
    with pytest.raises(UserError, match="has changed, since sub-s1 was prepared"):
        run(source)


def test_people_share_no_masks(source: Path) -> None:
    mask = source / "s2/segmentations/liver.nii.gz"
    mask.unlink()
    mask.symlink_to(source / "s1/segmentations/liver.nii.gz")
    found = discover_masks(source, "segmentations")
    assert [case.subject for case in found.cases] == ["sub-s3", "sub-s4"]
    assert "is the same file as" in found.problems[0].problem


def test_scans_without_images_or_masks_are_told(source: Path) -> None:
    (source / "s1/ct.nii.gz").unlink()
    (source / "s2/segmentations").rename(source / "s2/other")
    found = discover_masks(source, "segmentations", ["ct"])
    told = {problem.subject: problem.problem for problem in found.problems}
    assert told == {
        "sub-s1": "has no ct image",
        "sub-s2": "has no folder segmentations of masks",
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"structures": ["heart"]}, "structures must be names of masks, such as liver, spleen"),
        ({"structures": ["liver", "liver"]}, "structures must differ from one another"),
        ({"labels": "freesurfer"}, "labels must be null where masks= is given"),
        ({"overlap": "first"}, "overlap must be one of refuse, last, got first"),
    ],
)
def test_an_unfit_setting_is_refused(
    source: Path, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        run(source, **settings)


def test_a_folder_without_masks_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "s1/ct.nii.gz", image(0))
    with pytest.raises(DataError, match=r"holds no masks: expected files like case/masks/liver"):
        discover_masks(tmp_path, "masks")


def test_two_masks_of_one_structure_are_refused(tmp_path: Path) -> None:
    root = write_masks(tmp_path / "in")
    save(root / "s1/segmentations/liver.nii", SPLEEN)
    with pytest.raises(DataError, match=r"liver\.nii(\.gz)? are both masks of liver"):
        prepare(root, tmp_path / "out", masks="segmentations")
