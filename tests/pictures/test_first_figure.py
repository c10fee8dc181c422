"""Fig. 1 against closed forms: the moments of a clipped normal, and the kernel of eq. (2)."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import norm

from gaborseg.layers import gabor_kernel
from gaborseg.layers.gabor import PARAMETERS
from gaborseg.pictures import (
    SINUSOIDS,
    draw_losses,
    draw_sinusoids,
    simulated_losses,
    sinusoidal_factor,
)
from gaborseg.pictures.first_figure import OBJECT_SIDES, LossCurves

EVERY_SIDE = (5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70, 75, 80, 85, 90, 95)


@pytest.fixture(scope="module")
def curves() -> LossCurves:
    return simulated_losses(EVERY_SIDE, steps=11)


def clipped_moments(mean: float, deviation: float) -> tuple[float, float]:
    """E[p] and E[p^2] of a normal that is clipped to [0, 1]."""
    low, high = (0 - mean) / deviation, (1 - mean) / deviation
    inside = norm.cdf(high) - norm.cdf(low)
    first = mean * inside + deviation * (norm.pdf(low) - norm.pdf(high))
    second = (mean**2 + deviation**2) * inside
    second += deviation * (mean * norm.pdf(low) - (mean + 1) * norm.pdf(high))
    return first + norm.sf(high), second + norm.sf(high)


def expected_losses(side: int, mean: float) -> tuple[float, float]:
    """PCC and Dice loss of infinitely many draws."""
    share = side**3 / 100**3
    (p1, pp1), (p0, pp0) = (clipped_moments(m, 1 - mean) for m in (mean, 1 - mean))
    p, pp = share * p1 + (1 - share) * p0, share * pp1 + (1 - share) * pp0
    r = share * (p1 - p) / np.sqrt((pp - p**2) * share * (1 - share))
    return 1 - (r + 1) / 2, 1 - 2 * share * p1 / (p + share)


def test_pcc_starts_at_one_half_and_ends_at_zero_for_every_object(curves: LossCurves) -> None:
    np.testing.assert_allclose(curves.pcc[:, 0], 0.5, atol=0.02)
    np.testing.assert_allclose(curves.pcc[:, -1], 0, atol=1e-9)


def test_dice_of_a_small_object_hardly_falls_until_the_end(curves: LossCurves) -> None:
    start, half_way, end = curves.dice[0, [0, 5, 10]]
    assert curves.mean_score[5] == 0.75
    assert start > 0.99
    assert half_way > 0.9
    assert end == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("step", [0, 4, 8])
def test_losses_are_those_of_clipped_normals(curves: LossCurves, step: int) -> None:
    for row, side in enumerate(EVERY_SIDE[4:], start=4):
        got = curves.pcc[row, step], curves.dice[row, step]
        assert got == pytest.approx(expected_losses(side, curves.mean_score[step]), abs=3e-3)


def test_correlation_is_numpys() -> None:
    curves = simulated_losses((3,), image_side=6, steps=2, seed=1)
    draw = np.random.default_rng(1).standard_normal(216)
    truth = np.arange(216) < 27
    scores = (0.5 + 0.5 * draw).clip(0, 1)
    want = (1 - np.corrcoef(scores, truth)[0, 1]) / 2
    assert curves.pcc[0, 0] == pytest.approx(want)
    assert curves.dice[0, 0] == pytest.approx(1 - 2 * scores[:27].sum() / (scores.sum() + 27))


@pytest.mark.parametrize("name", SINUSOIDS)
def test_the_factor_is_that_of_a_kernel_without_envelope(name: str) -> None:
    a_re, a_im, f_re, f_im = SINUSOIDS[name]
    values = dict.fromkeys(PARAMETERS, 0.0) | {"sigma": 1e6, "phase": 0.3}
    values |= {"amplitude_re": a_re, "amplitude_im": a_im}
    values |= {"frequency_re": f_re, "frequency_im": f_im}
    parameters = torch.tensor([values[name] for name in PARAMETERS], dtype=torch.float64).view(
        8, 1, 1
    )
    line: NDArray = gabor_kernel(parameters, 9)[0, 0, :, 4, 4].numpy()
    factor = sinusoidal_factor(np.arange(-4.0, 5.0), SINUSOIDS[name], phase=0.3)
    np.testing.assert_allclose(factor, line, atol=1e-9)


def test_objects_must_fit_and_a_training_has_two_ends() -> None:
    with pytest.raises(ValueError, match=r"object_sides must lie in 1 \.\.\. 99, got \(100,\)"):
        simulated_losses((100,))
    with pytest.raises(ValueError, match="steps must be at least 2, got 1"):
        simulated_losses((5,), steps=1)


def test_the_pictures_show_every_curve() -> None:
    curves = simulated_losses(image_side=100, steps=2)
    panels = draw_losses(curves).axes
    assert [len(panel.lines) for panel in panels] == 2 * [len(OBJECT_SIDES)]
    assert len(draw_sinusoids().axes) == len(SINUSOIDS)
