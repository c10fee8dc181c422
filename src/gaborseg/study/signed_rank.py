"""Tests of paired differences, a column each: many thousands in a second.

``scipy.stats.wilcoxon`` does the same for one column; it takes milliseconds for each, and a grid of
configurations and structures has ten thousand.
"""

from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from gaborseg.study.study import Array

_EXACT = 50  # as many differences without ties are judged by the exact distribution


def signed_rank(differences: Array) -> tuple[Array, Array]:
    """Return p-value and effect size of the Wilcoxon signed-rank test of each column.

    Zeros are left out. The p-value is two-sided: exact for up to 50 differences without ties,
    otherwise of the normal approximation; never below the smallest that their number allows. The
    effect size is the matched-pairs rank-biserial correlation, (W+ - W-) / (W+ + W-) in [-1, 1].

    Args:
        differences: Independent differences (n, C), NaN where there is none.

    Returns:
        p-values in (0, 1] and effect sizes, (C,); 1 and 0 where nothing differs.
    """
    values = np.where(differences == 0, np.nan, differences)
    count = (~np.isnan(values)).sum(axis=0)
    ranks = stats.rankdata(np.abs(values), axis=0, nan_policy="omit")
    positive = np.where(values > 0, ranks, 0).sum(axis=0)
    total = count * (count + 1) / 2
    ties = _ties(np.abs(values))
    exact = (count <= _EXACT) & (ties == 0)
    p = np.where(exact, _exact(positive, count), _normal(positive, count, ties))
    effect = np.divide(2 * positive - total, total, out=np.zeros_like(total), where=total > 0)
    return np.maximum(p, smallest_p(count)), effect


def smallest_p(count: ArrayLike) -> Array:
    """Return the smallest two-sided p-value that a signed-rank test of n differences can have.

    >>> smallest_p(5).item(), smallest_p(6).item()
    (0.0625, 0.03125)
    """
    return np.minimum(1.0, 2.0 ** (1 - np.asarray(count, dtype=float)))


def holm(p: Array) -> Array:
    """Return p-values adjusted by Holm's step-down method; NaN is no test and stays NaN.

    >>> holm(np.array([0.01, 0.04, 0.03])).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted = np.full(len(p), np.nan)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(factors * p[order]))
    return adjusted


def _exact(positive: Array, count: Array) -> Array:
    result = np.ones(len(positive))
    for i, (rank_sum, n) in enumerate(zip(positive, count, strict=True)):
        if 0 < n <= _EXACT:
            distribution = _null_distribution(int(n))
            at = int(rank_sum)
            tail = min(distribution[: at + 1].sum(), distribution[at:].sum())
            result[i] = min(1.0, 2 * tail)
    return result


@cache
def _null_distribution(n: int) -> Array:
    """Return the probability of every rank sum 0 ... n (n + 1) / 2 when signs are fair coins."""
    distribution = np.ones(1)
    for rank in range(1, n + 1):
        shifted = np.concatenate([np.zeros(rank), distribution])
        distribution = (np.concatenate([distribution, np.zeros(rank)]) + shifted) / 2
    return distribution


def _normal(positive: Array, count: Array, ties: Array) -> Array:
    expected = count * (count + 1) / 4
    variance = count * (count + 1) * (2 * count + 1) / 24 - ties / 48
    z = np.divide(
        np.abs(positive - expected),
        np.sqrt(variance),
        out=np.zeros(len(positive)),
        where=variance > 0,
    )
    return 2 * stats.norm.sf(z)


def _ties(values: Array) -> Array:
    """Return the sum of t^3 - t over the groups of t equal values of each column."""
    nothing = np.full((1, values.shape[1]), np.nan)
    ordered = np.concatenate([np.sort(values, axis=0), nothing])
    result, run = np.zeros(values.shape[1]), np.ones(values.shape[1])
    for previous, following in pairwise(ordered):
        same = previous == following
        result += np.where(same, 0, run**3 - run)
        run = np.where(same, run + 1, 1)
    return result
