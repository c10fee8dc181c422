import os
import unicodedata
from pathlib import Path

import pytest

from gaborseg.preparation.survey import discover
from gaborseg.scans import DataError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"scan")
    return root


def found_names(root: Path, **options: object) -> list[tuple[str, ...]]:
    found = discover(root, **options)
    assert found.problems == ()
    return [(case.subject, *(path.name for path in case.files)) for case in found.cases]


def test_bids_names_are_paired_across_folders(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "sub-01/anat/sub-01_T1w.nii.gz",
        "sub-01/func/sub-01_task-rest_bold.nii.gz",
        "derivatives/seg/sub-01/anat/sub-01_space-orig_desc-aseg_dseg.nii.gz",
        "derivatives/seg/sub-01/anat/sub-01_desc-preproc_T1w.nii.gz",
    )
    assert found_names(tmp_path) == [
        ("sub-01", "sub-01_T1w.nii.gz", "sub-01_space-orig_desc-aseg_dseg.nii.gz")
    ]


def test_sessions_are_scans_of_one_person(tmp_path: Path) -> None:
    for session in ("a", "b"):
        stem = f"sub-7/ses-{session}/anat/sub-7_ses-{session}"
        touch(tmp_path, f"{stem}_acq-mprage_T1w.nii", f"{stem}_dseg.nii")
    found = discover(tmp_path)
    assert [case.subject for case in found.cases] == ["sub-7_ses-a", "sub-7_ses-b"]
    assert {case.participant for case in found.cases} == {"sub-7"}


def test_one_flat_folder_is_enough(tmp_path: Path) -> None:
    touch(tmp_path, "anna_flair.nrrd", "anna_seg.nrrd", "bo_flair.nrrd", "bo_seg.nrrd")
    assert found_names(tmp_path) == [
        ("sub-anna", "anna_flair.nrrd", "anna_seg.nrrd"),
        ("sub-bo", "bo_flair.nrrd", "bo_seg.nrrd"),
    ]


def test_a_folder_a_subject_may_hold_plain_names(tmp_path: Path) -> None:
    touch(tmp_path, "x/T1.nii.gz", "x/seg.nii.gz", "y/T1.nii.gz", "y/seg.nii.gz")
    assert [name for name, *_ in found_names(tmp_path)] == ["sub-x", "sub-y"]


def test_freesurfer_subjects_need_a_choice_of_image(tmp_path: Path) -> None:
    touch(tmp_path, "bert/mri/brain.mgz", "bert/mri/orig.mgz", "bert/mri/aseg.mgz")
    with pytest.raises(DataError, match=r"channels must be chosen, as in channels=\[brain\]"):
        discover(tmp_path)
    assert found_names(tmp_path, channels=["orig"]) == [("sub-bert", "orig.mgz", "aseg.mgz")]


@pytest.mark.parametrize("suffix", ["", "Tr"])
def test_two_folders_are_paired_by_name(tmp_path: Path, suffix: str) -> None:
    touch(tmp_path, f"images{suffix}/a.nii.gz", f"images{suffix}/b.nii.gz")
    touch(tmp_path, f"labels{suffix}/a.nii.gz", f"labels{suffix}/b_seg.nii.gz")
    found = discover(tmp_path)
    assert found.channels == ("image",)
    assert [case.label.name for case in found.cases] == ["a.nii.gz", "b_seg.nii.gz"]


def test_labels_of_two_folders_may_end_in_a_chosen_way(tmp_path: Path) -> None:
    touch(tmp_path, "images/a_T1w.nii.gz", "labels/a_lesion.nii.gz")
    assert found_names(tmp_path, label="lesion") == [("sub-a", "a_T1w.nii.gz", "a_lesion.nii.gz")]


def test_images_of_two_folders_may_end_with_a_channel(tmp_path: Path) -> None:
    touch(tmp_path, "images/a_1_0000.nii.gz", "images/a_1_0001.nii.gz", "labels/a_1.nii.gz")
    assert found_names(tmp_path, channels=["0001", "0000"]) == [
        ("sub-a_1", "a_1_0001.nii.gz", "a_1_0000.nii.gz", "a_1.nii.gz")
    ]


def test_several_images_become_channels_in_the_chosen_order(tmp_path: Path) -> None:
    touch(tmp_path, "s_T1w.nii", "s_FLAIR.nii", "s_dseg.nii")
    assert found_names(tmp_path, channels=["T1w", "FLAIR"]) == [
        ("sub-s", "s_T1w.nii", "s_FLAIR.nii", "s_dseg.nii")
    ]


def test_a_label_can_be_chosen_by_a_longer_end_of_its_name(tmp_path: Path) -> None:
    touch(tmp_path, "sub-1_T1w.nii", "sub-1_desc-a_dseg.nii", "sub-1_desc-b_dseg.nii")
    (problem,) = discover(tmp_path).problems
    assert problem.problem == "is not the only label map of sub-1: sub-1_desc-b_dseg.nii"
    assert found_names(tmp_path, label="desc-b_dseg")[0][-1] == "sub-1_desc-b_dseg.nii"


def test_roles_may_stand_behind_dashes(tmp_path: Path) -> None:
    for number in (1, 2):
        stem = f"BraTS-GLI-0000{number}-000"
        touch(tmp_path, *(f"{stem}/{stem}-{role}.nii.gz" for role in ("t1n", "t2f", "seg")))
    assert found_names(tmp_path, channels=("t1n",), label="seg") == [
        (f"sub-{stem}", f"{stem}-t1n.nii.gz", f"{stem}-seg.nii.gz")
        for stem in ("BraTS-GLI-00001-000", "BraTS-GLI-00002-000")
    ]


def test_spaces_and_accents_are_kept_out_of_ids_but_found(tmp_path: Path) -> None:
    name = "Jörg Müller 2"
    touch(tmp_path, f"{name}_T1w.nii.gz", unicodedata.normalize("NFD", f"{name}_seg.nii.gz"))
    ((subject, *_),) = found_names(tmp_path)
    assert subject == "sub-Jörg-Müller-2"


def test_a_loop_of_folders_ends(tmp_path: Path) -> None:
    touch(tmp_path, "a/s_T1w.nii", "a/s_seg.nii")
    (tmp_path / "a" / "again").symlink_to(tmp_path, target_is_directory=True)
    assert len(found_names(tmp_path)) == 1


def test_linked_folders_are_searched(tmp_path: Path) -> None:
    touch(tmp_path / "store", "s_T1w.nii", "s_seg.nii")
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "data").symlink_to(tmp_path / "store", target_is_directory=True)
    assert len(found_names(tmp_path / "study")) == 1


def test_hidden_files_and_prepared_folders_are_left_alone(tmp_path: Path) -> None:
    touch(tmp_path, "s_T1w.nii", "s_seg.nii", "._s_T1w.nii", "out/s_T1w.nii", "made/s_seg.nii")
    touch(tmp_path, "made/preparation.json")
    assert len(found_names(tmp_path, output=tmp_path / "out")) == 1


def test_images_without_labels_and_labels_without_images_are_told(tmp_path: Path) -> None:
    touch(tmp_path, "a_T1w.nii", "a_seg.nii", "b_T1w.nii", "c_seg.nii")
    found = discover(tmp_path)
    assert [case.subject for case in found.cases] == ["sub-a"]
    told = {Path(problem.file).name: problem.problem for problem in found.problems}
    assert told == {"b_T1w.nii": "has no label map", "c_seg.nii": "has no T1w image"}


def test_ids_that_differ_in_case_alone_would_share_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "x/a_T1w.nii", "x/a_seg.nii", "x/A_T1w.nii", "x/A_seg.nii")
    found = discover(tmp_path)
    assert found.cases == ()
    assert [problem.subject for problem in found.problems] == ["sub-A", "sub-a"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "holds no images"),
        (("a_T1w.nii",), "holds no label maps"),
        (("a_seg.nii",), "holds no images"),
        (("a_T1w.nii", "a_T2w.nii", "a_seg.nii"), "channels must be chosen"),
        (("a_T1w.nii", "a_mask.nii", "a_seg.nii"), r"label must be chosen, as in label=mask"),
    ],
)
def test_what_cannot_be_guessed_is_asked_for(
    tmp_path: Path, names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        discover(touch(tmp_path, *names))


def test_input_that_is_neither_folder_nor_csv_is_refused(tmp_path: Path) -> None:
    for name in ("nowhere", "scan.nii"):
        touch(tmp_path, "scan.nii")
        with pytest.raises(DataError, match="input must be a folder or a csv file"):
            discover(tmp_path / name)


def test_a_folder_that_cannot_be_opened_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a_T1w.nii", "a_seg.nii", "shut/b_T1w.nii")
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    (problem,) = discover(tmp_path).problems
    assert problem.file.endswith("shut")
    assert problem.problem == "Permission denied"


def test_files_with_a_dash_before_a_known_role_are_found_in_the_folder_itself(
    tmp_path: Path,
) -> None:
    touch(tmp_path, "a-T1.nii", "a-seg.nii", "b_T1.nii", "b_seg.nii")
    assert found_names(tmp_path, channels=["T1"]) == [
        ("sub-a", "a-T1.nii", "a-seg.nii"),
        ("sub-b", "b_T1.nii", "b_seg.nii"),
    ]


def test_an_image_without_a_label_map_is_no_channel(tmp_path: Path) -> None:
    touch(tmp_path, *(f"images/case_{n}.nii" for n in "123"), "labels/case_1.nii")
    touch(tmp_path, "labels/case_2.nii")
    found = discover(tmp_path)
    assert [case.subject for case in found.cases] == ["sub-case_1", "sub-case_2"]
    (problem,) = found.problems
    assert (Path(problem.file).name, problem.problem) == ("case_3.nii", "has no label map")
