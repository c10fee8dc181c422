from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from gaborseg.data import Appearance, appearance_of, zscore
from gaborseg.data.appearance import intensity_quantiles, visible


@dataclass
class Case:
    image: NDArray
    spacing: float = 2.0

    def read(self, name: str) -> NDArray:
        affine = np.diag([self.spacing] * 3 + [1.0])
        return {"image": self.image, "label": self.image[0], "affine": affine}[name]


def image(seed: int, contrast: float = 1.0) -> NDArray:
    """A ball of two tissues on a black ground, z-scored, (1, 16, 16, 16)."""
    rng = np.random.default_rng(seed)
    radius = np.linalg.norm(np.indices((16, 16, 16)) - 7.5, axis=0)
    tissue = np.where(radius < 4, 100 + 60 * contrast, 100)
    return zscore((radius < 7) * (tissue + rng.normal(0, 4, radius.shape)))[None]


@pytest.fixture
def appearance() -> Appearance:
    return appearance_of([Case(image(seed)) for seed in range(6)])


def test_a_scan_like_the_others_is_near(appearance: Appearance) -> None:
    assert appearance.unlikeness(image(100)) < 1


def test_inverted_contrast_noise_and_a_cut_scan_are_far(appearance: Appearance) -> None:
    noise = zscore(np.random.default_rng(0).normal(size=(16, 16, 16)))[None]
    cut = image(0)
    cut[:, :8] = cut.min()
    for odd in (image(100, contrast=-1.0), noise, zscore(cut)):
        assert appearance.unlikeness(odd) > 1.5


def test_units_and_offset_of_the_intensities_do_not_matter(appearance: Appearance) -> None:
    scan = image(100)
    assert appearance.unlikeness(zscore(7 * scan + 40)) == pytest.approx(
        appearance.unlikeness(scan), abs=1e-3
    )


def test_a_channel_that_is_far_decides() -> None:
    both = appearance_of([Case(np.concatenate([image(k), image(k + 50)])) for k in range(4)])
    assert len(both.quantiles) == len(both.distances) == 2
    assert both.unlikeness(np.concatenate([image(9), image(9)])) < 1
    assert both.unlikeness(np.concatenate([image(9), image(9, contrast=-1)])) > 1.5


def test_fields_of_view_are_the_longest_sides() -> None:
    cases = [Case(image(k), spacing) for k, spacing in enumerate((2.0, 1.5, 3.0))]
    assert appearance_of(cases).field_of_view == [24.0, 48.0]


def test_one_scan_is_enough() -> None:
    alone = appearance_of([Case(image(0))])
    assert alone.unlikeness(image(0)) == pytest.approx(0, abs=1e-3)


def test_it_survives_json(appearance: Appearance) -> None:
    assert Appearance(**appearance.as_json()) == appearance


def test_what_is_visible_is_brighter_than_the_ground() -> None:
    values = np.array([0.0] * 90 + [5.0] * 10)
    np.testing.assert_array_equal(visible(values), [5.0] * 10)
    np.testing.assert_array_equal(visible(np.ones(4)), np.ones(4))
    assert intensity_quantiles(np.ones((2, 3, 3, 3))).shape == (2, 50)
