import numpy as np
import pytest
from numpy.typing import NDArray

from gaborseg.pictures.structure_colors import PALETTE, structure_colors

# Linear RGB as eyes without long- or middle-wave cones see it: Machado et al., 2009, severity 1.
EYES = {
    "normal": np.eye(3),
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}


def perceived(colors: NDArray, eye: str) -> NDArray:
    """Place of sRGB colours in CIELAB, for an eye."""
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    linear = (linear @ np.transpose(EYES[eye])).clip(0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = np.cbrt(linear @ np.transpose(to_xyz) / [0.9505, 1, 1.089]).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


@pytest.mark.parametrize("eye", EYES)
def test_every_eye_tells_the_colours_of_the_brain_apart(eye: str) -> None:
    places = perceived(structure_colors(19), eye)
    distances = np.linalg.norm(places[:, None] - places, axis=-1)
    assert distances[~np.eye(19, dtype=bool)].min() > 5  # 2.3 is just noticeable


def test_more_structures_than_colours_get_their_shades() -> None:
    colors = structure_colors(3 * len(PALETTE))
    assert len(np.unique(colors, axis=0)) == len(colors)
    assert colors.min() >= 0
    assert colors.max() <= 1
    many = structure_colors(109)
    assert len(np.unique(many.round(4), axis=0)) == len(many)
    assert (colors[20:40] >= colors[:20]).all()
    assert (colors[40:] <= colors[:20]).all()


def test_any_number_of_structures_has_colours() -> None:
    assert structure_colors(255).shape == (255, 3)
    assert structure_colors(0).shape == (0, 3)
