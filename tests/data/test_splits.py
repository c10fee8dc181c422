import json
from pathlib import Path

import pytest

from gaborseg.data.splits import Split, read_split, shuffled_split
from gaborseg.scans import DataError

SUBJECTS = tuple(f"sub-{number:02d}" for number in range(1, 44))


@pytest.mark.parametrize("index", range(5))
def test_43_subjects_are_cut_into_26_4_and_13(index: int) -> None:
    split = shuffled_split(SUBJECTS, index)
    assert [len(split.train), len(split.validation), len(split.test)] == [26, 4, 13]
    assert sorted(split.train + split.validation + split.test) == list(SUBJECTS)


def test_the_five_splits_differ() -> None:
    assert len({shuffled_split(SUBJECTS, index).test for index in range(5)}) == 5


def test_a_split_never_changes() -> None:
    assert shuffled_split(SUBJECTS, 0).validation == ("sub-07", "sub-10", "sub-36", "sub-39")


def test_too_few_subjects_are_refused() -> None:
    with pytest.raises(DataError, match="a subject in each of its three parts, got 3"):
        shuffled_split(SUBJECTS[:3], 0)


def test_an_unknown_index_is_refused() -> None:
    with pytest.raises(DataError, match=r"split must be 0\.\.4, got 5"):
        shuffled_split(SUBJECTS, 5)


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(ValueError, match="part must be one of train, validation, test, got 'val'"):
        shuffled_split(SUBJECTS, 0).part("val")


def test_people_of_their_own_change_nothing() -> None:
    for index in range(5):
        alone = shuffled_split(SUBJECTS, index)
        assert shuffled_split(SUBJECTS, index, participants=SUBJECTS) == alone
        assert shuffled_split(SUBJECTS, index, participants=[f"p{s}" for s in SUBJECTS]) == alone


@pytest.mark.parametrize("index", range(5))
def test_scans_of_one_person_are_never_divided(index: int) -> None:
    people = [f"p{number % 15}" for number in range(43)]
    split = shuffled_split(SUBJECTS, index, participants=people)
    owner = dict(zip(SUBJECTS, people, strict=True))
    parts = [{owner[subject] for subject in part} for part in (split.train, split.validation)]
    parts.append({owner[subject] for subject in split.test})
    assert [len(part) for part in parts] == [9, 2, 4]
    assert set.union(*parts) == set(people)
    assert sorted(split.train + split.validation + split.test) == list(SUBJECTS)


def test_too_few_people_are_refused() -> None:
    with pytest.raises(DataError, match="in each of its three parts, got 2"):
        shuffled_split(SUBJECTS[:8], 0, participants=list("aaaabbbb"))


def write_split(path: Path, **parts: list[str]) -> Path:
    path.write_text(json.dumps(parts))
    return path


def test_a_split_file_is_read(tmp_path: Path) -> None:
    path = write_split(tmp_path / "split.json", train=["b", "a"], validation=["c"], test=["d"])
    assert read_split(path, ("a", "b", "c", "d")) == Split(("a", "b"), ("c",), ("d",))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"train": ["a"], "validation": ["b"]}, "KeyError"),
        ({"train": ["a"], "validation": ["b"], "test": []}, "test must hold at least one"),
        ({"train": ["a"], "validation": ["b"], "test": ["z"]}, "subject 'z' is not in"),
        ({"train": ["a"], "validation": ["b"], "test": ["a"]}, "subject 'a' must be listed once"),
    ],
)
def test_an_unfit_split_file_is_refused(
    tmp_path: Path, parts: dict[str, list[str]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_split(write_split(tmp_path / "split.json", **parts), ("a", "b", "c"))


def test_a_split_file_may_name_people(tmp_path: Path) -> None:
    path = write_split(tmp_path / "split.json", train=["p"], validation=["b1"], test=["q"])
    subjects, people = ("p1", "b1", "p2", "q1"), ("p", "b", "p", "q")
    assert read_split(path, subjects, people) == Split(("p1", "p2"), ("b1",), ("q1",))


def test_a_person_in_two_parts_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_split(tmp_path / "split.json", train=["p1"], validation=["b1"], test=["p2"])
    read_split(path, ("p1", "b1", "p2"), ("p", "b", "p"))
    assert caplog.messages == [
        "1 participants, p first, have scans in both train and test: scores will be too good"
    ]


def test_scans_that_a_persons_name_leaves_out_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"train": ["a"], "validation": ["b"], "test": ["c"]}))
    read_split(path, ["a", "a2", "b", "c"], ["a", "a", "b", "c"])
    assert "1 other scans of people in the split, a2 first, are in no part" in caplog.text
