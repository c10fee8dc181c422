"""Tests of paired differences: over subjects, many at a time, and over trainings."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from gaborseg.study.study import Array

_MOST_EXACT = 50
"""As many differences without ties are judged by the exact distribution."""


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
    values = np.take_along_axis(values, np.argsort(np.isnan(values), axis=0), axis=0)
    counts = (~np.isnan(values)).sum(axis=0)
    p, effect = np.ones(len(counts)), np.zeros(len(counts))
    for n in np.unique(counts[counts > 0]):
        own = np.flatnonzero(counts == n)
        columns = values[:n, own]
        exact = (n <= _MOST_EXACT) & ~_tied(columns)
        for some, method in ((exact, "exact"), (~exact, "approx")):
            if some.any():
                p[own[some]] = stats.wilcoxon(columns[:, some], method=method, axis=0).pvalue
        ranks = stats.rankdata(np.abs(columns), axis=0)
        effect[own] = (np.sign(columns) * ranks).sum(axis=0) / ranks.sum(axis=0)
    return np.maximum(p, smallest_p(counts)), effect


def _tied(columns: Array) -> NDArray[np.bool_]:
    """Return which columns (n, C) hold two values of the same size."""
    sizes = np.sort(np.abs(columns), axis=0)
    return (sizes[1:] == sizes[:-1]).any(axis=0)


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


def corrected_resampled_p(differences: Array, test_to_training: float) -> float:
    """Return the p-value of a t-test over replicates whose training sets overlap.

    t = mean / sqrt((1/J + n_test/n_training) s^2) with J - 1 degrees of freedom: the differences of
    J shuffled splits are not independent, and the plain t-test finds far too much.

    Args:
        differences: Mean difference of each replicate (J,).
        test_to_training: Test over training subjects; 0 for independent replicates, NaN if it is
            not known: then there is no p-value.

    References:
        Nadeau and Bengio, Inference for the generalization error, Machine Learning 2003.
    """
    count = len(differences)
    if count < 2 or np.isnan(test_to_training):
        return float("nan")
    variance = (1 / count + test_to_training) * np.var(differences, ddof=1)
    if variance == 0:
        return 0.0 if differences[0] else 1.0
    return float(2 * stats.t.sf(abs(np.mean(differences)) / np.sqrt(variance), count - 1))
