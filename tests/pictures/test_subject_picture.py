from io import BytesIO

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from numpy.typing import NDArray

from gaborseg.pictures import draw_subject
from gaborseg.pictures.structure_colors import structure_colors

AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])
SMALL = {"affine": AFFINE, "pixels": 60}
NAMES = ("cerebral_grey", "left_ball", "right_box")


def subject() -> tuple[NDArray, NDArray]:
    """A scan and its labels: a big tissue with two things in it, one of them on the right."""
    labels = np.zeros((16, 20, 12), np.uint8)
    labels[2:14, 2:18, 2:10] = 1
    labels[4:7, 8:12, 5:8] = 2
    labels[9:12, 8:12, 5:8] = 3
    image = labels + np.random.default_rng(0).normal(0, 0.1, labels.shape)
    return image, labels


def draw(names: tuple[str, ...] = NAMES, models: int = 2, **options: object) -> Figure:
    image, labels = subject()
    predictions = {f"model {index}": labels for index in range(models)}
    dice = {f"model {index}": 0.5 + index / 10 for index in range(models)}
    affine = options.pop("affine", AFFINE)
    return draw_subject(
        image, labels, predictions, names, dice, affine=affine, pixels=60, **options
    )


def pixels(figure: Figure) -> NDArray[np.float32]:
    figure.savefig(file := BytesIO(), format="png", dpi=30)
    file.seek(0)
    return imread(file)


def shown(figure: Figure, panel: int) -> NDArray[np.float64]:
    return np.asarray(figure.axes[panel].images[0].get_array(), dtype=float)


def test_truth_and_models_stand_side_by_side_with_their_dice() -> None:
    figure = draw()
    assert [panel.get_title() for panel in figure.axes[:3]] == ["truth", "model 0", "model 1"]
    assert [p.get_xlabel() for p in figure.axes[3:]] == ["", "Dice 50.0 %", "Dice 60.0 %"]


def test_names_are_no_formulas() -> None:
    figure = draw((r"$\foo{$", "left_ball", "right_box"), title=r"sub-$\foo{$")
    assert pixels(figure).size
    assert figure.legends[0].get_texts()[0].get_text() == r"\$\foo{\$"


def test_slices_and_surfaces_have_the_colours_of_the_legend() -> None:
    figure = draw()
    entries = {
        t.get_text(): p.get_facecolor()[:3]
        for t, p in zip(figure.legends[0].get_texts(), figure.legends[0].get_patches(), strict=True)
    }
    assert list(entries) == ["cerebral grey", "left ball", "right box"]
    np.testing.assert_allclose(list(entries.values()), structure_colors(3))
    surfaces = shown(figure, 3)
    covered = surfaces[surfaces[..., 3] == 1][:, :3]
    for index, color in enumerate(structure_colors(3)):
        alike = covered @ color / np.linalg.norm(covered, axis=1) / np.linalg.norm(color) > 0.999
        assert alike.any() == (index > 0), NAMES[index]


def test_big_tissues_have_no_surface_and_the_legend_says_so() -> None:
    assert draw().legends[0].get_title().get_text() == "without surface: cerebral grey"
    assert draw(hidden=()).legends[0].get_title().get_text() == ""


def test_if_everything_were_hidden_everything_is_shown() -> None:
    figure = draw(hidden=NAMES)
    assert shown(figure, 3)[..., 3].any()


def test_a_scan_of_any_orientation_gives_the_same_picture() -> None:
    image, labels = subject()
    turned = np.array([[0, -2.0, 0, 30], [0, 0, 2.0, 0], [-3.0, 0, 0, 33], [0, 0, 0, 1]])
    stored = [v.transpose(2, 0, 1)[::-1, ::-1] for v in (image, labels)]  # inferior, left, anterior
    first = draw_subject(image, labels, {}, NAMES, {}, **SMALL)
    second = draw_subject(*stored, {}, NAMES, {}, affine=turned, pixels=60)
    for panel in (0, 2):
        np.testing.assert_allclose(shown(first, panel), shown(second, panel))


def test_the_left_of_the_subject_is_on_the_left_of_the_slice() -> None:
    plane = shown(draw(), 0)
    towards = [np.linalg.norm(plane - color, axis=-1) for color in structure_colors(3)]
    ball, box = (np.argwhere(towards[i] == np.min(towards, axis=0)) for i in (1, 2))
    assert ball[:, 1].mean() < box[:, 1].mean()


def test_the_slice_shows_what_there_is() -> None:
    plane = shown(draw(), 0)
    want = 0.72 * structure_colors(3)[1]
    assert (np.abs(plane - want).max(axis=-1) < 0.3).any()


def test_a_model_that_finds_nothing_is_drawn_empty() -> None:
    image, labels = subject()
    figure = draw_subject(image, labels, {"blind": 0 * labels}, NAMES, {}, **SMALL)
    assert not shown(figure, 3).any()
    assert pixels(figure).std() > 0


def test_a_subject_without_structures_can_be_drawn() -> None:
    image, labels = subject()
    assert pixels(draw_subject(image, 0 * labels, {}, NAMES, {}, **SMALL)).std() > 0


@pytest.mark.parametrize(("names", "models"), [(("a",) * 3, 0), (tuple("abcdefghijkl"), 7)])
def test_any_number_of_models_and_structures_fits(names: tuple[str, ...], models: int) -> None:
    figure = draw(names, models)
    titles = [panel.get_title() for panel in figure.axes if panel.get_title()]
    assert titles == ["truth", *(f"model {index}" for index in range(models))]
    assert pixels(figure).std() > 0


def test_maps_that_do_not_fit_are_named() -> None:
    image, labels = subject()
    with pytest.raises(ValueError, match=r"cut must have the image's shape \(16, 20, 12\), got"):
        draw_subject(image, labels, {"cut": labels[1:]}, NAMES, {}, affine=AFFINE)
    with pytest.raises(ValueError, match=r"truth must hold labels 0\.\.2, got 3"):
        draw_subject(image, labels, {}, NAMES[:2], {}, affine=AFFINE)
