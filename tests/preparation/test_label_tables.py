import json
from pathlib import Path
from typing import Any

import pytest

from gaborseg.preparation.label_tables import channel_names
from gaborseg.preparation.mapping import read_mapping
from gaborseg.scans import DataError

TABLE = """#No. Label Name:            R   G   B   A
0   Unknown                    0   0   0   0

17  Left-Hippocampus           220 216 20  0
53  Right-Hippocampus          220 216 20  0
54  Right Amygdala 2           103 255 255 0
72  5th-Ventricle
"""


def table(folder: Path, text: str = TABLE, name: str = "LUT.txt") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def dataset(folder: Path, **content: Any) -> str:
    return table(folder, json.dumps(content), "dataset.json")


def test_a_colour_table_names_ids(tmp_path: Path) -> None:
    mapping = read_mapping(table(tmp_path))
    assert mapping.structures == {
        "Left-Hippocampus": (17,),
        "Right-Hippocampus": (53,),
        "Right Amygdala 2": (54,),
        "5th-Ventricle": (72,),
    }
    assert mapping.background == (0,)


def test_what_is_not_chosen_from_a_table_is_background(tmp_path: Path) -> None:
    mapping = read_mapping(table(tmp_path), ["Right-Hippocampus", "5th-Ventricle"])
    assert mapping.labels == {0: 0, 17: 0, 54: 0, 53: 1, 72: 2}
    assert mapping.unknown([99]) == [99]


def test_a_table_of_more_ids_than_labels_needs_a_choice(tmp_path: Path) -> None:
    rows = "".join(f"{one} region-{one} 1 2 3 0\n" for one in range(300))
    path = table(tmp_path, rows)
    with pytest.raises(DataError, match=r"1 to 255 structures, got 299: choose some with struct"):
        read_mapping(path)
    assert read_mapping(path, ["region-7"]).structures == {"region-7": (7,)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Left-Hippocampus 17\n", "line 1 must be an id, its name and its colour"),
        ("1 a 1 1 1 0\n1 b 1 1 1 0\n", "every id must have one name, got 1 twice, a and b"),
        ("1 " + "a" * 2000, "line 1 must be an id"),
        ("-1 a\n", "line 1 must be an id"),
        ("", "must map ids to structures"),
        ("1 12\n", "1 must be mapped to a name, got 12"),
        ("1 a\x1b[2Jb\n", "1 must be mapped to a name"),
    ],
)
def test_an_unfit_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_mapping(table(tmp_path, text))


@pytest.mark.parametrize(
    "labels",
    [
        {"0": "background", "1": "liver", "2": "tumour"},
        {"background": 0, "liver": 1, "tumour": 2},
        {"background": 0, "liver": [1], "tumour": [2]},
    ],
)
def test_both_generations_of_dataset_json_name_ids(tmp_path: Path, labels: Any) -> None:
    mapping = read_mapping(dataset(tmp_path, labels=labels))
    assert mapping.structures == {"liver": (1,), "tumour": (2,)}


def test_what_nnu_net_ignores_is_ignored(tmp_path: Path) -> None:
    path = dataset(tmp_path, labels={"background": 0, "liver": 1, "ignore": 2})
    assert read_mapping(path).ignored == (2,)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"labels": {"whole": [1, 2], "core": [2]}}, "got 2 twice, whole and core: regions that"),
        ({"labels": {"liver": "1.5"}}, "labels must be ids and names, got 'liver': 1.5"),
        ({"labels": {"liver": True}}, "labels must be ids and names, got 'liver': True"),
        ({"labels": {"liver": -1}}, "labels must be ids and names, got 'liver': -1"),
        ({"labels": ["liver"]}, "it must have labels, as in"),
        ({}, "it must have labels, as in"),
    ],
)
def test_an_unfit_dataset_json_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_mapping(dataset(tmp_path, **content))


@pytest.mark.parametrize("text", ["{", "[" * 10**5, "[]"])
def test_what_is_no_json_is_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"dataset\.json cannot be read as a table of labels"):
        read_mapping(table(tmp_path, text, "dataset.json"))


@pytest.mark.parametrize("key", ["modality", "channel_names"])
def test_channels_are_in_the_order_of_their_numbers(tmp_path: Path, key: str) -> None:
    names = {"10": "ADC", "2": "T2", "0": "T1"}
    assert channel_names(dataset(tmp_path, **{key: names})) == ("T1", "T2", "ADC")


@pytest.mark.parametrize("names", [{"0": "a/b"}, {"0": 5}, {"x": "T1"}, ["T1"]])
def test_channels_that_are_no_names_are_refused(tmp_path: Path, names: Any) -> None:
    with pytest.raises(DataError, match="channel_names must be"):
        channel_names(dataset(tmp_path, channel_names=names))


def test_channels_that_do_not_differ_stay_as_their_files_say(tmp_path: Path) -> None:
    assert channel_names(dataset(tmp_path, channel_names={"0": "noNorm", "1": "noNorm"})) == ()
