"""The command that `prepare` prints at its end, as a shell reads it when it is pasted."""

import shlex
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from config import compose_config, settings_of
from distorted_cohort import write_scan
from gaborseg.interface import build, quote_values
from gaborseg.preparation import prepare as work

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five scans in folders for training and test, with voxels that nobody has labelled (9)."""
    monkeypatch.setattr(work, "contact_sheets", lambda *_: ["nothing"])
    labels = np.zeros((8, 8, 8), np.uint8)
    labels[2:6, 2:6, 2:6], labels[6:] = 1, 9
    for number, name in enumerate(("Tr/a", "Tr/b", "Tr/c", "Ts/d", "Ts/e")):
        image = np.arange(512, dtype=np.float32).reshape(8, 8, 8) + number
        write_scan(tmp_path / "scans" / f"{name}.nii", image, AFFINE)
        write_scan(tmp_path / "scans" / f"{name}_m.nii", labels, AFFINE)
    (tmp_path / "labels.yaml").write_text("1: box\n9: ignore\n")
    return tmp_path / "scans"


def settings(source: Path, output: Path) -> SimpleNamespace:
    given = settings_of("prepare", "input=x", "output=x", "size=8", "processes=0", "viewer=none")
    given.input, given.output = str(source), str(output)
    given.labels = str(source.parent / "labels.yaml")
    given.pattern, given.label_pattern = "{split}/{subject}.nii", "{split}/{subject}_m.nii"
    return given


def test_it_trains_on_what_was_prepared(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GABORSEG_CACHE", str(tmp_path / "cache"))
    caplog.set_level("INFO")
    work.prepare_scans(settings(source, tmp_path / "it's a=b, [c]"))
    words = shlex.split(caplog.messages[-1].removeprefix("Train with: "))
    assert words[:4] == ["python", "-m", "src.train", "data=folder"]
    config = compose_config(quote_values(words[3:], ("data.root", "data.split_file")))
    data = build(config.data)
    data.prepare()
    assert data.split.test == ("sub-d", "sub-e")
    assert config.data.ignore == 255


def test_too_few_people_are_told_instead(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("Tr/a", "Tr/b", "Ts/d"):
        (source / f"{name}.nii").unlink()
        (source / f"{name}_m.nii").unlink()
    caplog.set_level("INFO")
    work.prepare_scans(settings(source, tmp_path / "out"))
    assert caplog.messages[-1].startswith("note: a training needs 3 people")
