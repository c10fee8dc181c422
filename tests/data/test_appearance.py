from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from gaborseg.data import Appearance, Histograms, appearance_of, zscore
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


def with_gamma(scan: NDArray, gamma: float) -> NDArray:
    """A scan whose intensities another scanner has bent."""
    low, high = scan.min(), scan.max()
    return zscore(((scan - low) / (high - low)) ** gamma)


@pytest.mark.parametrize("gamma", [0.4, 1, 1.5])
def test_a_matched_scan_has_the_histogram_of_the_others(
    appearance: Appearance, gamma: float
) -> None:
    matched = appearance.matched(with_gamma(image(100), gamma))
    np.testing.assert_allclose(intensity_quantiles(matched), appearance.quantiles, atol=0.02)
    assert matched.dtype == image(100).dtype


def test_the_background_of_a_matched_scan_is_that_of_the_others(appearance: Appearance) -> None:
    ground = [image(seed).min() for seed in range(6)]
    assert appearance.matched(with_gamma(image(100), 0.5)).min() == pytest.approx(
        np.mean(ground), abs=0.02
    )


def test_matching_keeps_the_order_of_intensities(appearance: Appearance) -> None:
    scan = with_gamma(image(100), 2).ravel()
    matched = appearance.matched(scan.reshape(1, 16, 16, 16)).ravel()
    assert (np.diff(matched[np.argsort(scan, kind="stable")]) >= 0).all()


def test_matching_undoes_what_another_scanner_does(appearance: Appearance) -> None:
    scan = image(100)
    bent, back = with_gamma(scan, 2), appearance.matched(with_gamma(scan, 2))
    assert np.abs(back - scan).mean() < 0.2 * np.abs(bent - scan).mean()


def test_a_channel_of_one_intensity_cannot_be_matched(appearance: Appearance) -> None:
    flat = np.zeros((1, 4, 4, 4), np.float32)
    np.testing.assert_array_equal(appearance.matched(flat), flat)


def test_scans_without_a_background_are_matched_too() -> None:
    rng = np.random.default_rng(0)
    whole = appearance_of([Case(zscore(rng.normal(size=(1, 12, 12, 12)))) for _ in range(3)])
    assert np.isfinite(whole.matched(zscore(rng.exponential(size=(1, 12, 12, 12))))).all()


def test_few_intensities_become_the_mean_of_what_they_stand_for(appearance: Appearance) -> None:
    scan = image(100)
    coarse = np.round(scan * 2) / 2
    matched = appearance.matched(zscore(coarse[0])[None])
    assert abs(matched[coarse > 0].mean() - scan[coarse > 0].mean()) < 0.1


def test_a_hot_voxel_stays_within_reach(appearance: Appearance) -> None:
    scan = with_gamma(image(100), 0.5)
    scan[0, 0, 0, 0] = 1e6
    top = np.ptp(appearance.quantiles[0])
    assert appearance.matched(scan).max() < appearance.quantiles[0][-1] + 3 * top


def test_what_is_no_number_is_not_matched(appearance: Appearance) -> None:
    scan = image(0)
    scan[0, 5] = np.nan
    for matching in ("auto", "never"):
        assert Histograms([appearance], matching)(scan)[2] is False


def test_channels_are_matched_each_for_itself() -> None:
    both = appearance_of([Case(np.concatenate([image(k), image(k, -1)])) for k in range(4)])
    scan = np.concatenate([with_gamma(image(9), 0.5), with_gamma(image(9, -1), 0.7)])
    np.testing.assert_allclose(intensity_quantiles(both.matched(scan)), both.quantiles, atol=0.02)


@pytest.mark.parametrize(
    ("matching", "usual", "strange"),
    [("auto", False, True), ("always", True, True), ("never", False, False)],
)
def test_scans_are_matched_where_that_is_wanted(
    appearance: Appearance, matching: str, usual: bool, strange: bool
) -> None:
    histograms = Histograms([appearance], matching)
    for scan, wanted in ((image(0), usual), (with_gamma(image(0), 3), strange)):
        got, unlikeness, matched = histograms(scan)
        assert matched is wanted
        assert unlikeness == appearance.unlikeness(scan)
        np.testing.assert_array_equal(got, appearance.matched(scan) if wanted else scan)


def test_the_nearest_of_several_models_is_matched(appearance: Appearance) -> None:
    other = appearance_of([Case(image(seed, contrast=-1)) for seed in range(3)])
    got, unlikeness, _ = Histograms([appearance, other], "always")(image(9, contrast=-1))
    assert unlikeness == other.unlikeness(image(9, contrast=-1))
    np.testing.assert_array_equal(got, other.matched(image(9, contrast=-1)))


def test_what_the_training_scans_look_like_may_be_unknown() -> None:
    got, unlikeness, matched = Histograms([], "always")(image(0))
    np.testing.assert_array_equal(got, image(0))
    assert np.isnan(unlikeness)
    assert not matched


def test_another_matching_is_refused() -> None:
    with pytest.raises(ValueError, match="match_histograms must be one of auto, always, never"):
        Histograms([], "often")
