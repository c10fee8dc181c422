import json
import shutil
from pathlib import Path

import pytest

from gaborseg.data import SegmentationData
from gaborseg.data.folder import Folder, Folders
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


def described(root: Path, **told: object) -> Path:
    """A cohort that says more of itself."""
    write_cohort(root, num_subjects=3)
    info = json.loads((root / "dataset.json").read_text()) | told
    (root / "dataset.json").write_text(json.dumps(info))
    return root


def test_two_folders_are_one_data_set(tmp_path: Path) -> None:
    first = described(
        tmp_path / "a", name="site A", credit="anna", licence="free", empty=["sub-02"]
    )
    told = {"size": 8, "forms": "agree"}
    other = described(tmp_path / "b", name="B", credit="bo", licence="free", preparation=told)
    (other / "participants.tsv").write_text("participant_id\tparticipant\nsub-01\tx\nsub-03\tx\n")
    both = Folders([first, other]).dataset()
    assert both.name == both.info["name"] == "site A + B"
    assert both.subjects == (
        *("sub-site-A-01", "sub-site-A-02", "sub-site-A-03"), *("sub-B-01", "sub-B-03")
    )  # fmt: skip
    assert both.participants[-2:] == ("sub-B-x", "sub-B-x")
    assert both.cases[3].images == (other / "sub-01/anat/sub-01_T1w.nii.gz",)
    assert (both.info["credit"], both.info["licence"]) == ("anna; bo", "free")
    assert both.info["empty"] == ["sub-site-A-02"]
    assert both.prefixes == {str(first): "sub-site-A-", str(other): "sub-B-"}


def test_subjects_that_share_no_name_keep_theirs(tmp_path: Path) -> None:
    first, other = (described(tmp_path / name) for name in "ab")
    (first / "participants.tsv").write_text("participant_id\nsub-01\n")
    (other / "participants.tsv").write_text("participant_id\nsub-02\n")
    both = Folders([first, other]).dataset()
    assert both.subjects == ("sub-01", "sub-02")
    assert both.prefixes == {str(first): "sub-", str(other): "sub-"}


def test_folders_of_one_name_are_numbered(tmp_path: Path) -> None:
    both = Folders([described(tmp_path / name) for name in "ab"]).dataset()
    assert both.subjects[::3] == ("sub-tiny-1-01", "sub-tiny-2-01")


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (
            {"structures": ["outer", "inner"]},
            r"b must have the structures of .*a, inner, outer, got",
        ),
        ({"preparation": {"window": [0, 1]}}, r"prepared like .*a, with window None, got \[0, 1\]"),
    ],
)
def test_folders_that_do_not_belong_together_are_refused(
    tmp_path: Path, told: dict[str, object], message: str
) -> None:
    folders = Folders([described(tmp_path / "a"), described(tmp_path / "b", **told)])
    with pytest.raises(DataError, match=message):
        folders.dataset()


def test_channels_of_folders_must_be_the_same_unless_there_is_but_one(tmp_path: Path) -> None:
    one = write_cohort(tmp_path / "a", 1, channels=("T1w",))
    other = write_cohort(tmp_path / "b", 1, channels=("MPRAGE",))
    several = write_cohort(tmp_path / "c", 1, channels=("T1w", "FLAIR"))
    assert Folders([one, other]).dataset().channels == ("T1w",)
    with pytest.raises(DataError, match=r"must have the channels of .*, T1w, got T1w, FLAIR"):
        Folders([one, several]).dataset()


@pytest.mark.parametrize("roots", [[], ["a", "a"], ["a", "./a"]])
def test_a_folder_is_named_once(roots: list[str]) -> None:
    with pytest.raises(DataError, match=r"data\.root must name each folder once, got"):
        Folders(roots)


def test_the_data_of_several_folders_are_split_together(tmp_path: Path) -> None:
    roots = [write_cohort(tmp_path / name, 6) for name in "ab"]
    data = SegmentationData.from_folder(roots, tmp_path / "cache", num_workers=0)
    data.prepare()
    assert len({*data.subjects}) == 12
    assert {name[:10] for name in data.split.train} == {"sub-tiny-1", "sub-tiny-2"}
    assert data.describe()["roots"] == {
        str(tmp_path / "a"): "sub-tiny-1-",
        str(tmp_path / "b"): "sub-tiny-2-",
    }


def test_folders_that_the_table_does_not_list_are_told(
    cohort: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (cohort / "participants.tsv").write_text("participant_id\tage\nsub-05\t40\nsub-01\t31\n")
    assert Folder(cohort).dataset().subjects == ("sub-05", "sub-01")
    assert "lists 2 subjects; 4 folders beside it, sub-02 first, are not listed" in caplog.text


def test_people_of_several_folders_share_no_files(tmp_path: Path) -> None:
    first, other = (write_cohort(tmp_path / name, 2) for name in "ab")
    shutil.rmtree(other / "sub-01")
    (other / "sub-01").symlink_to(first / "sub-01")
    with pytest.raises(DataError, match="is the same file as"):
        Folders([first, other]).dataset()
