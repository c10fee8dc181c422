import json
from pathlib import Path

import pytest

from gaborseg.data import SegmentationData
from gaborseg.data.folder import Folder
from gaborseg.scans import DataError
from tiny_cohort import write_cohort


def test_cases_are_listed_with_their_files(cohort: Path) -> None:
    dataset = Folder(cohort).dataset()
    case = dataset.cases[1]
    assert case.subject == "sub-02"
    assert case.images == (cohort / "sub-02" / "anat" / "sub-02_T1w.nii.gz",)
    assert case.label == cohort / "sub-02" / "anat" / "sub-02_dseg.nii.gz"
    assert dataset.structures == ("inner", "outer")


def test_participants_choose_subjects_and_order(cohort: Path) -> None:
    (cohort / "participants.tsv").write_text("participant_id\tage\nsub-05\t40\nsub-01\t31\n")
    assert Folder(cohort).dataset().subjects == ("sub-05", "sub-01")


@pytest.mark.parametrize(
    ("rows", "line"), [("sub-01\nsub-01\n", 3), ("../elsewhere\n", 2), ("sub-01\n\t3\n", 3)]
)
def test_unfit_participants_are_refused(cohort: Path, rows: str, line: int) -> None:
    (cohort / "participants.tsv").write_text("participant_id\tage\n" + rows)
    message = rf"participants\.tsv .*line {line}: participant_id must be a folder's name, once"
    with pytest.raises(DataError, match=message):
        Folder(cohort).dataset()


@pytest.mark.parametrize(
    ("heading", "message"),
    [
        ("participant_id\tparticipant\tparticipant", "got participant twice"),
        ("participant_id,participant", "must have a column participant_id, and tabs"),
    ],
)
def test_unfit_columns_of_participants_are_refused(
    cohort: Path, heading: str, message: str
) -> None:
    (cohort / "participants.tsv").write_text(f"{heading}\nsub-01\ta\tb\n")
    with pytest.raises(DataError, match=message):
        Folder(cohort).dataset()


def test_people_without_a_name_are_not_one_person(
    cohort: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = "sub-01\tanna\nsub-02\tn/a\nsub-03\tn/a\nsub-04\t\nsub-05\tanna \n"
    (cohort / "participants.tsv").write_text("participant_id\tparticipant\n" + rows)
    people = Folder(cohort).dataset().participants
    assert people == ("anna", "sub-02", "sub-03", "sub-04", "anna")
    assert "3 of 5 subjects, sub-02 first, name no participant" in caplog.text


def test_label_maps_that_are_links_to_one_template_are_refused(cohort: Path) -> None:
    template = cohort / "template.nii.gz"
    (cohort / "sub-02/anat/sub-02_dseg.nii.gz").rename(template)
    (cohort / "sub-02/anat/sub-02_dseg.nii.gz").symlink_to(template)
    path = cohort / "sub-04/anat/sub-04_dseg.nii.gz"
    path.unlink()
    path.symlink_to(template)
    with pytest.raises(DataError, match=r"sub-02_dseg.nii.gz is the same file as .*sub-04_dseg"):
        Folder(cohort).dataset()


def test_structures_may_be_called_as_they_usually_are(cohort: Path) -> None:
    path = cohort / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"structures": ["NCR/NET", "NO"]}))
    assert Folder(cohort).dataset().structures == ("NCR/NET", "NO")


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere is not a folder"):
        Folder(tmp_path / "nowhere").dataset()


def test_an_empty_folder_is_told_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"dataset\.json is missing: it must hold name, structures"):
        Folder(tmp_path).dataset()


def test_a_folder_without_subjects_is_refused(tmp_path: Path) -> None:
    write_cohort(tmp_path, num_subjects=0)
    with pytest.raises(DataError, match="holds no subject"):
        Folder(tmp_path).dataset()


def test_missing_labels_are_named(cohort: Path) -> None:
    for number in (2, 4):
        (cohort / f"sub-0{number}" / "anat" / f"sub-0{number}_dseg.nii.gz").unlink()
    with pytest.raises(DataError, match=r"sub-02_dseg.nii.gz is missing \(and 1 more\)"):
        Folder(cohort).dataset()


def test_too_few_subjects_for_a_split_are_refused(tmp_path: Path) -> None:
    root = write_cohort(tmp_path / "few", num_subjects=3)
    with pytest.raises(DataError, match="a subject in each of its three parts, got 3"):
        SegmentationData.from_folder(root, tmp_path / "cache").prepare()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": None}, "name must be text, got None"),
        ({"structures": []}, r"structures must be a list of names, got \[\]"),
        ({"structures": "inner"}, "structures must be a list of names, got 'inner'"),
        ({"structures": ["inner", "inner"]}, "structures must differ from one another"),
        ({"structures": [f"s{k}" for k in range(256)]}, "structures must be at most 255, got 256"),
        ({"channels": ["../T1w"]}, "channels must be a list of names"),
    ],
)
def test_an_unfit_description_is_refused(cohort: Path, change: dict, message: str) -> None:
    path = cohort / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=message):
        Folder(cohort).dataset()


@pytest.mark.parametrize("text", ["{", "[]", "\x00"])
def test_a_description_that_is_no_object_is_refused(cohort: Path, text: str) -> None:
    (cohort / "dataset.json").write_text(text)
    with pytest.raises(DataError, match=r"dataset\.json"):
        Folder(cohort).dataset()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_tables_and_descriptions_may_come_from_any_system(cohort: Path, encoding: str) -> None:
    for name in ("dataset.json", "participants.tsv"):
        path = cohort / name
        if path.exists():
            path.write_bytes(path.read_text(encoding="utf-8").encode(encoding))
    subjects = sorted(folder.name for folder in cohort.glob("sub-*"))
    lines = ["participant_id\tparticipant", *(f"{subject}\tJürgen" for subject in subjects), ""]
    (cohort / "participants.tsv").write_bytes("\r\n".join(lines).encode(encoding))
    dataset = Folder(cohort).dataset()
    assert dataset.subjects == tuple(subjects)
    assert set(dataset.participants) == {"Jürgen"}
