from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from gaborseg.pictures.slices import Window, paint, save_png
from gaborseg.pictures.structure_colors import structure_colors


def test_the_window_leaves_out_the_darkest_and_the_brightest() -> None:
    image = np.arange(1001.0).reshape(7, 11, 13)
    assert Window.of(image) == (10, 995)
    grey = Window.of(image).grey(image)
    assert (grey.min(), grey.max()) == (0, 1)
    assert grey.ravel()[502] == pytest.approx((502 - 10) / 985)


def test_the_window_of_a_large_scan_is_taken_from_some_of_its_voxels() -> None:
    image = np.random.default_rng(0).random((200, 200, 200), dtype=np.float32)
    assert Window.of(image) == pytest.approx((0.01, 0.995), abs=1e-3)


def test_an_image_of_one_intensity_has_grey_levels_too() -> None:
    image = np.full((3, 3), 7.0)
    assert np.array_equal(Window.of(image).grey(image), np.zeros((3, 3)))


def test_structures_have_their_colours_and_the_background_stays_grey() -> None:
    grey, labels = np.full((1, 3), 0.5), np.array([[0, 1, 2]])
    background, *structures = paint(grey, labels, opacity=0.4)[0]
    assert background.tolist() == [0.5] * 3
    np.testing.assert_allclose(structures, 0.6 * 0.5 + 0.4 * structure_colors(2))


def test_no_colour_is_brighter_than_white() -> None:
    labels = np.arange(20)[None]
    assert paint(np.ones((1, 20), np.float32), labels).max() <= 1


def test_a_picture_that_cannot_be_drawn_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(b"old")
    figure = Figure()
    figure.text(0.5, 0.5, r"$\unknown$")
    with pytest.raises(ValueError, match="unknown"):
        save_png(path, figure)
    assert [file.name for file in tmp_path.iterdir()] == ["picture.png"]
    assert path.read_bytes() == b"old"
