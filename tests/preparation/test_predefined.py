import json
from pathlib import Path

import pytest

from gaborseg.data import Case
from gaborseg.preparation.predefined import part_of, write_split
from gaborseg.scans import DataError


def cases(people: str) -> list[Case]:
    """Scans called by their place, of people called by letters."""
    return [
        Case(f"sub-{place}", (Path("i"),), Path("l"), person) for place, person in enumerate(people)
    ]


def written(output: Path, people: str, parts: dict[str, str]) -> dict[str, list[str]]:
    columns = {f"sub-{place}": {"split": part} for part, ids in parts.items() for place in ids}
    path = write_split(output, cases(people), columns)
    assert path is not None
    return json.loads(path.read_text())


@pytest.mark.parametrize(
    ("folder", "part"),
    [
        ("training", "train"),
        ("Tr", "train"),
        ("Va", "validation"),
        ("testing", "test"),
        ("Ts", "test"),
    ],
)
def test_names_of_folders_are_parts_of_a_split(folder: str, part: str) -> None:
    assert part_of(folder) == part


def test_another_name_is_refused() -> None:
    with pytest.raises(DataError, match=r"split must begin with one of tr, va, te, ts, got foo"):
        part_of("foo")


def test_three_folders_are_kept_as_they_are(tmp_path: Path) -> None:
    split = written(tmp_path, "abcd", {"train": "03", "validation": "1", "test": "2"})
    assert split == {"train": ["sub-0", "sub-3"], "validation": ["sub-1"], "test": ["sub-2"]}


def test_a_part_without_a_folder_is_drawn_from_the_training_people(tmp_path: Path) -> None:
    split = written(tmp_path, "aabbccdx", {"train": "0123456", "test": "7"})
    assert split["test"] == ["sub-7"]
    assert sorted(split["train"] + split["validation"]) == [f"sub-{place}" for place in range(7)]
    people = dict(zip((f"sub-{place}" for place in range(8)), "aabbccdx", strict=True))
    train, validation = ({people[one] for one in split[p]} for p in ("train", "validation"))
    assert (len(train), len(validation), train & validation) == (3, 1, set())


def test_without_folders_there_is_no_split(tmp_path: Path) -> None:
    assert write_split(tmp_path, cases("ab"), {}) is None
    assert list(tmp_path.iterdir()) == []


def test_too_few_people_are_no_split(tmp_path: Path) -> None:
    assert write_split(tmp_path, cases("a"), {"sub-0": {"split": "train"}}) is None


def test_a_split_that_was_changed_by_hand_stays(tmp_path: Path) -> None:
    (tmp_path / "split.json").write_text('{"mine": []}')
    assert written(tmp_path, "abc", {"train": "0", "validation": "1", "test": "2"}) == {"mine": []}
