from pathlib import Path

import pytest

from gaborseg.runs import RunFile, RunFileError, read_outcome, read_record, read_settings


def test_what_a_folder_lacks_is_empty(tmp_path: Path) -> None:
    assert read_settings(tmp_path) == read_record(tmp_path) == read_outcome(tmp_path) == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("!!python/object/apply:os.system ['true']", "config.yaml cannot be read"),
        ("[1, 2]", "config.yaml must hold a mapping, got list"),
        ("a: [", "config.yaml cannot be read"),
        ("a: " + 10_000 * "[", "config.yaml cannot be read"),
        ("x: " + "y" * 2**21, "config.yaml cannot be read: it must be at most 1048576 bytes"),
    ],
)
def test_settings_are_plain_and_small(text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / RunFile.SETTINGS).write_text(text)
    with pytest.raises(RunFileError, match=problem):
        read_settings(tmp_path)


def test_a_record_is_a_mapping(tmp_path: Path) -> None:
    (tmp_path / RunFile.RECORD).write_text("[1]")
    with pytest.raises(RunFileError, match=r"run\.json must hold a mapping, got list"):
        read_record(tmp_path)


def test_settings_of_before_are_read_in_todays_names(tmp_path: Path) -> None:
    (tmp_path / RunFile.SETTINGS).write_text("loss: {_target_: src.losses.PCCLoss}\n")
    assert read_settings(tmp_path) == {"loss": {"_target_": "gaborseg.losses.PCCLoss"}}
