import itertools

import numpy as np
import pytest
from scipy import stats

from gaborseg.study.paired_tests import holm, signed_rank, smallest_p


@pytest.mark.parametrize("count", [3, 8, 13, 43, 60])
@pytest.mark.parametrize("digits", [1, 16])
def test_p_values_are_those_of_scipy(count: int, digits: int) -> None:
    differences = np.random.default_rng(count).normal(0.3, 1, size=(count, 20)).round(digits)
    p, _ = signed_rank(differences)
    for column, value in zip(differences.T, p, strict=True):
        column = column[column != 0]
        ties = len(set(np.abs(column))) < len(column)
        method = "exact" if len(column) <= 50 and not ties else "approx"
        expected = stats.wilcoxon(column, method=method).pvalue
        assert value == pytest.approx(max(expected, 2.0 ** (1 - len(column))), rel=1e-9)


def test_p_of_five_is_the_share_of_sign_patterns_at_least_as_extreme() -> None:
    differences = np.array([0.4, -0.1, 0.9, 0.3, 0.2])
    ranks = np.array([4, 1, 5, 3, 2])
    sums = [np.dot(signs, ranks) for signs in itertools.product([-1, 1], repeat=5)]
    expected = np.mean(np.abs(sums) >= abs(np.dot(np.sign(differences), ranks)))
    p, effect = signed_rank(differences[:, None])
    assert p[0] == expected
    assert effect[0] == pytest.approx((14 - 1) / 15)


def test_five_splits_can_never_be_significant() -> None:
    p, effect = signed_rank(np.full((5, 1), 0.1) + np.arange(5)[:, None])
    assert p[0] == 0.0625
    assert effect[0] == 1


def test_equal_differences_have_no_smaller_p_than_their_number_allows() -> None:
    p, _ = signed_rank(np.ones((4, 1)))
    assert p[0] == smallest_p(4) == 0.125


def test_zeros_and_missing_differences_are_left_out() -> None:
    whole = np.array([[0.3], [0.1], [-0.2], [0.5], [0.6]])
    padded = np.vstack([whole, [[0.0]], [[np.nan]]])
    assert np.array_equal(signed_rank(whole), signed_rank(padded))


def test_no_difference_at_all_has_p_one_and_no_effect() -> None:
    differences = np.column_stack([np.zeros(6), np.full(6, np.nan)])
    p, effect = signed_rank(differences)
    assert p.tolist() == [1, 1]
    assert effect.tolist() == [0, 0]


def test_the_effect_size_changes_sign_with_the_differences() -> None:
    differences = np.random.default_rng(0).normal(0.5, 1, size=(20, 4))
    assert np.allclose(signed_rank(differences)[1], -signed_rank(-differences)[1])


def test_holm_is_the_step_down_procedure() -> None:
    p = np.random.default_rng(1).uniform(0, 0.2, size=40)
    adjusted = holm(p)
    for level in (0.01, 0.05, 0.3):
        rejected = set()
        for step, index in enumerate(np.argsort(p)):
            if p[index] > level / (len(p) - step):
                break
            rejected.add(int(index))
        assert set(np.flatnonzero(adjusted <= level).tolist()) == rejected


def test_holm_leaves_out_what_was_not_tested() -> None:
    adjusted = holm(np.array([0.01, np.nan, 0.02]))
    assert adjusted[[0, 2]].tolist() == [0.02, 0.02]
    assert np.isnan(adjusted[1])
