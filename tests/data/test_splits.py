import json
from pathlib import Path

import pytest

from src.data import DataError, Split, read_split, shuffled_split

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
