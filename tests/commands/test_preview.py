import logging
import re
from pathlib import Path

import pytest
from PIL import Image

from config import compose_config
from gaborseg.commands.preview import preview
from gaborseg.interface import UserError


def draw(cohort: Path, *overrides: str) -> Path:
    places = ["data=folder", f"data.root={cohort}", f"data.cache={cohort.parent / 'cache'}"]
    return preview(compose_config([*places, "timed=2", *overrides], "preview"), overrides)


@pytest.mark.slow
def test_the_picture_has_a_column_for_the_original_and_each_draw(
    cohort: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sizes = []
    for draws in (1, 4):
        path = tmp_path / "new" / f"{draws}.png"
        with caplog.at_level(logging.INFO):
            assert draw(cohort, f"output={path}", f"draws={draws}") == path
        sizes.append(Image.open(path).size)
    (narrow, height), (wide, same) = sizes
    assert wide / narrow == pytest.approx(5 / 2, rel=0.05)
    assert height == same
    assert re.search(r"samples/s and process, \d+ ms a sample of 8 x 8 x 8 voxels", caplog.text)
    assert f"written to {path}" in caplog.text


def test_the_picture_is_named_by_the_settings(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = draw(cohort, "augmentation=none", "subjects=1")
    assert path == Path("outputs/previews/augmentation=none,subjects=1.png")
    assert path.is_file()


def test_a_name_without_an_ending_gets_one_in_a_folder_that_is_made(
    cohort: Path, tmp_path: Path
) -> None:
    path = draw(cohort, "augmentation=none", "subjects=1", f"output={tmp_path}/new/folder/mine")
    assert path == tmp_path / "new" / "folder" / "mine.png"
    assert Image.open(path).format == "PNG"


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("mine.jpg", r"output must end in \.png, got .*mine\.jpg"),
        ("folder", "output must name a picture, got the folder .*: add NAME.png"),
        ("new/", "output must name a picture, got the folder .*: add NAME.png"),
        ("file/mine", "output must be in a folder to write to, got .*: see .*file"),
    ],
)
def test_where_no_picture_can_be_is_told_before_the_data_are_read(
    tmp_path: Path, output: str, message: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=message) as error:
        draw(tmp_path / "no cohort", f"output={tmp_path}/{output}", "overwrite=true")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "new").exists()


def test_a_picture_is_replaced_only_if_told_to(cohort: Path, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_text("mine")
    with pytest.raises(UserError, match=r"picture\.png exists: set output"):
        draw(cohort, f"output={path}")
    assert path.read_text() == "mine"
    assert Image.open(draw(cohort, f"output={path}", "overwrite=true")).size[0] > 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("draws=0", "draws must be a positive integer, got 0"),
        ("subjects=many", "subjects must be a positive integer, got many"),
        ("+augmentation.transforms.crop={_target_: torchio.Crop, cropping: 2}", "crop must keep"),
    ],
)
def test_what_cannot_be_drawn_is_told_in_one_line(
    cohort: Path, override: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        draw(cohort, override)
