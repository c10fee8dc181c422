import os
import zipfile
from pathlib import Path

import pytest
import yaml

from gaborseg.machine import check_size, check_torch_index, load_json, load_yaml, read_text

ALIASES_OF_ALIASES = "\n".join(
    ["a0: &a0 [x, x]", *[f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 40)]]
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_text_is_read_as_tools_on_every_system_save_it(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes('{"name": "Überblick"}'.encode(encoding))
    assert load_json(read_text(path)) == {"name": "Überblick"}


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"\xff\x00\x9c" * 9)
    with pytest.raises(UnicodeDecodeError):
        read_text(path)


def test_a_text_is_read_within_bounds(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("12345")
    assert read_text(path, largest=5) == "12345"
    with pytest.raises(ValueError, match="must be at most 4 bytes"):
        read_text(path, largest=4)


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(ValueError, match="not a regular file"):
        read_text(tmp_path / "a.json")


@pytest.mark.parametrize("text", ["a: [1, 2]", "a: &x 1\nb: *x", "a: &x [1]\nb: *x\nc: *x", ""])
def test_plain_yaml_holds_what_pyyaml_reads(text: str) -> None:
    assert load_yaml(text) == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (ALIASES_OF_ALIASES, "aliases name too much"),
        ("a: &x 1\nb: [" + "*x, " * 1001 + "]", "aliases name too much"),
        ("a: &x [*x]", "aliases name too much"),
        ("[" * 10**5, "nested too deeply"),
        ("- " * 10**4, "nested too deeply"),
        ("a: !!python/object/apply:os.system [true]", "could not determine a constructor"),
        ("a: &x [" + "1, " * 5000 + "]\nb: [" + "*x, " * 1000 + "]", "aliases name too much"),
        (
            "a: &x {"
            + ", ".join(f"k{i}: 1" for i in range(5000))
            + "}\n<<: ["
            + "*x, " * 1000
            + "]",
            "aliases name too much",
        ),
        ("1" + ":1" * 10**5, "a value without quotes is too long"),
        ("1" + ":1" * 2000 + ":1.5", "not of the kind that it says"),
        ("!!int ''", "not of the kind that it says"),
        ("!!bool x", "not of the kind that it says"),
        ("!!timestamp x", "not of the kind that it says"),
        ("a: b: c", "mapping values are not allowed"),
    ],
)
def test_yaml_that_costs_too_much_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        load_yaml(text)


@pytest.mark.parametrize(
    "text", ["[" * 10**5, "[" * 200 + "]" * 200, '{"a":' * 10**5, "{", "nothing"]
)
def test_json_that_cannot_be_read_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (the parser's own words)
        load_json(text)


def test_parts_that_are_named_many_times_count_each_time() -> None:
    bomb: list[object] = [1] * 10
    for _ in range(12):
        bomb = [bomb] * 10
    with pytest.raises(ValueError, match="too many values"):
        check_size({"a": bomb})
    check_size({"a": [bomb[:0]] * 10})


def test_an_index_of_tuples_in_tuples_is_refused_before_it_is_read(tmp_path: Path) -> None:
    for count in (10_000, 100_000):
        with zipfile.ZipFile(tmp_path / str(count), "w") as archive:
            archive.writestr("archive/data.pkl", b"\x80\x02})" + b"\x85" * count + b"K\x01s.")
    check_torch_index(tmp_path / "10000")
    with pytest.raises(ValueError, match="nested too deeply"):
        check_torch_index(tmp_path / "100000")
