"""Paired comparisons of configurations on the same test subjects, and what they can show.

People are the independent units: one that is tested in several splits, or on several scans, counts
once. Two things must hold for a claim about configurations: the difference must stand out against
the people, and against the trainings, whose splits share most of their training subjects.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations

import numpy as np
from scipy import stats

from gaborseg.study.names import AVERAGE, METRICS
from gaborseg.study.paired_tests import corrected_resampled_p, holm, signed_rank, smallest_p
from gaborseg.study.study import Array, Study
from gaborseg.study.summaries import Replicates, mean, nsd_tolerances, replicates_of, same_tolerance

ALPHA = 0.05
RESAMPLES = 10_000
_SEED = 0
_KINDS = (None, "split")
"""How runs repeat each other: as they have it, or else by split."""

SHOWN = "shown"
NETWORKS = "these networks"
NOT_SHOWN = "not shown"
TOO_FEW = "too few subjects"
VERDICTS = {
    SHOWN: "The difference stands out against the subjects and against the trainings.",
    NETWORKS: "These trained networks differ on these subjects; whether another training would "
    "show it again, the few and overlapping trainings cannot tell.",
    NOT_SHOWN: "No difference is shown, which is not the same as showing that there is none.",
    TOO_FEW: "Too few subjects for so many comparisons: whatever their scores, none of the tests "
    "could have been significant.",
}


@dataclass(frozen=True)
class Comparison:
    """First minus second configuration, in one structure or on average.

    Attributes:
        first: Id of a configuration.
        second: Id of the other one.
        structure: Name, or ``average`` over structures.
        difference: Mean over all test cases that both have, the scans of a person averaged.
        low: Lower end of its 95 % confidence interval.
        high: Upper end.
        subjects: Different people behind it: the independent units.
        cases: Tests of a person by both configurations in the same split.
        replicates: Splits (or seeds) behind it.
        agreeing: Replicates whose difference has the sign of ``difference``.
        p: Wilcoxon signed-rank test over people, two-sided.
        p_holm: The same, adjusted for all comparisons of its family.
        p_trainings: Corrected resampled t-test over the splits; NaN for fewer than two, and if
            a run does not record how many subjects it was trained on.
        rank_biserial: Matched-pairs rank-biserial correlation over subjects.
        dz: Mean over standard deviation of the subjects' differences (Cohen's dz).
        verdict: What can be claimed, a key of ``VERDICTS``.
    """

    first: str
    second: str
    structure: str
    difference: float
    low: float
    high: float
    subjects: int
    cases: int
    replicates: int
    agreeing: int
    p: float
    p_holm: float
    p_trainings: float
    rank_biserial: float
    dz: float
    verdict: str


def compare_all(
    study: Study, rates: dict[str, float | None], metric: str = "dice"
) -> list[Comparison]:
    """Return all pairs of configurations at their learning rates, each structure and the average.

    Left out are pairs without a common test case, and of NSD those of different tolerances, or of
    tolerances that are not recorded.

    Holm's adjustment is over all pairs for the averages, and over all pairs and structures for the
    structures.
    """
    chosen = [c for c in study.configurations if c.id in rates]
    ways = [
        {c.id: replicates_of(study, c, rates[c.id], metric, kind) for c in chosen}
        for kind in _KINDS
    ]
    pairs = combinations([c.id for c in chosen], 2)
    rows = [row for pair in pairs for row in _compare(study, pair, metric, ways)]
    return _judged(rows)


def _paired(ways: Iterable[list[Replicates]]) -> tuple[list[Replicates], list[str]]:
    """Return configurations in the first way that gives them replicates in common, and these.

    Runs of one split that were repeated with several seeds are paired by seed. With a run of
    another seed, or with runs of other splits, they are paired by split, their mean being taken.
    """
    for found in ways:
        if names := _common_names(found):
            return found, names
    return [], []


def _compare(
    study: Study, ids: tuple[str, str], metric: str, ways: Sequence[Mapping[str, Replicates]]
) -> Iterator[Comparison]:
    found, names = _paired([way[key] for key in ids] for way in ways)
    if not names or (metric == "nsd" and not same_tolerance(nsd_tolerances(study, *found))):
        return
    first, second = found
    cases = _cases(first, names) - _cases(second, names)
    cases = np.concatenate([cases, mean(cases, axis=2)[..., None]], axis=2)
    by_subject, by_replicate = mean(cases, axis=0), mean(cases, axis=1)
    if np.isnan(by_subject).all():
        return
    differences = mean(cases.reshape(-1, cases.shape[2]), axis=0)
    p, effect = signed_rank(by_subject)
    low, high = bootstrap_interval(cases)
    ratio = _test_to_training(study, first, second) if first.kind == "split" else float("nan")
    for column, structure in enumerate([*study.structures, AVERAGE]):
        if np.isnan(differences[column]):
            continue
        units = by_subject[~np.isnan(by_subject[:, column]), column]
        trained = by_replicate[~np.isnan(by_replicate[:, column]), column]
        yield Comparison(
            first=ids[0],
            second=ids[1],
            structure=structure,
            difference=float(differences[column]),
            low=float(low[column]),
            high=float(high[column]),
            subjects=len(units),
            cases=int((~np.isnan(cases[..., column])).sum()),
            replicates=len(trained),
            agreeing=int((np.sign(trained) == np.sign(differences[column])).sum()),
            p=float(p[column]),
            p_holm=float("nan"),
            p_trainings=corrected_resampled_p(trained, ratio),
            rank_biserial=float(effect[column]),
            dz=cohens_dz(units),
            verdict="",
        )


def _common_names(found: Sequence[Replicates]) -> list[str]:
    """Return the replicates that all have; seeds of different splits have nothing in common."""
    kinds = {own.kind for own in found}
    if len(kinds) > 1 or not frozenset.intersection(*(own.splits for own in found)):
        return []
    return [name for name in found[0].names if all(name in own.names for own in found)]


def _cases(replicates: Replicates, names: Sequence[str]) -> Array:
    return replicates.by_person[[replicates.names.index(name) for name in names]]


def bootstrap_interval(cases: Array, resamples: int = RESAMPLES) -> tuple[Array, Array]:
    """Return 95 % confidence intervals of the mean over cases, resampling whole people.

    Percentiles of the bootstrap distribution, widened for small samples as Hesterberg's expanded
    percentile interval is: with n people who have a value in a column, its tails hold
    Phi(-sqrt(n / (n - 1)) t(0.975, n - 1)).

    Args:
        cases: Differences (J, P, C), NaN where a person was not tested.
        resamples: Number of bootstrap samples; the same ones for every column.

    Returns:
        Lower and upper ends (C,); both are NaN for a column of fewer than two people.

    References:
        Hesterberg, What teachers should know about the bootstrap, The American Statistician 2015.
    """
    there = ~np.isnan(cases)
    low, high = np.full((2, cases.shape[2]), np.nan)
    if not there.any():
        return low, high
    tested = there.any(axis=(0, 2))
    sums = np.where(there, cases, 0).sum(axis=0)[tested]
    counts = there.sum(axis=0)[tested].astype(float)
    means = _resampled(sums, counts, resamples)
    subjects = (counts > 0).sum(axis=0)
    for n in np.unique(subjects[subjects > 1]):
        own = subjects == n
        low[own], high[own] = _ends(means[:, own], n)
    return low, high


def interval_of_average(cases: Array, resamples: int = RESAMPLES) -> tuple[float, float]:
    """Return the 95 % confidence interval of a configuration's average, resampling whole people.

    The average is that of ``Replicates.averages``, over replicates: the mean over structures of the
    means over people. The interval is made as in ``bootstrap_interval``; a structure that none of
    the drawn people has keeps its mean.

    Args:
        cases: Scores (J, P, T), NaN where a person was not tested.
        resamples: Number of bootstrap samples.

    Returns:
        Its ends, NaN for fewer than two people.
    """
    there = ~np.isnan(cases)
    tested = there.any(axis=(0, 2))
    n = int(tested.sum())
    if n < 2:
        return float("nan"), float("nan")
    flat = (n, -1)  # people, replicates and structures
    sums = np.where(there, cases, 0)[:, tested].swapaxes(0, 1).reshape(flat)
    counts = there[:, tested].swapaxes(0, 1).reshape(flat).astype(float)
    means = _resampled(sums, counts, resamples).reshape(resamples, len(cases), -1)
    means = np.where(np.isnan(means), mean(cases, axis=1), means)
    low, high = _ends(mean(mean(means, axis=2), axis=1)[:, None], n)
    return float(low[0]), float(high[0])


def _resampled(sums: Array, counts: Array, resamples: int) -> Array:
    """Return the mean of each column in each bootstrap sample of people, (resamples, C)."""
    weights = _resampling_weights(len(sums), resamples)
    with np.errstate(invalid="ignore"):
        return (weights @ sums) / (weights @ counts)


def _ends(means: Array, n: int) -> Array:
    """Return the ends (2, C) of Hesterberg's expanded percentile interval of n people."""
    tail = stats.norm.cdf(-np.sqrt(n / (n - 1)) * stats.t.ppf(1 - ALPHA / 2, n - 1))
    quantile = np.nanquantile if np.isnan(means).any() else np.quantile
    return np.asarray(quantile(means, [tail, 1 - tail], axis=0))


@cache
def _resampling_weights(n: int, resamples: int) -> Array:
    """Return how often each of n people is drawn in each bootstrap sample, (resamples, n)."""
    draws = np.random.default_rng(_SEED).multinomial(n, np.full(n, 1 / n), size=resamples)
    return draws.astype(float)


def cohens_dz(differences: Array) -> float:
    """Return the mean over the standard deviation of differences; NaN where that is undefined."""
    if len(differences) < 2 or np.ptp(differences) == 0:
        return float("nan")
    return float(np.mean(differences) / np.std(differences, ddof=1))


def _judged(rows: Sequence[Comparison]) -> list[Comparison]:
    """Return comparisons with adjusted p-values and verdicts, family by family."""
    judged = list(rows)
    for averages in (True, False):
        family = [i for i, row in enumerate(rows) if (row.structure == AVERAGE) == averages]
        adjusted = holm(np.array([rows[i].p for i in family]))
        most = max((rows[i].subjects for i in family), default=0)
        best = float(smallest_p(most)) * len(family)
        for i, p in zip(family, adjusted, strict=True):
            row = replace(rows[i], p_holm=float(p))
            judged[i] = replace(row, verdict=verdict(row, best))
    return judged


def verdict(row: Comparison, smallest_adjusted_p: float = 0.0) -> str:
    """Return what a comparison can claim, a key of ``VERDICTS``.

    Args:
        row: The comparison.
        smallest_adjusted_p: What the family's p-values could come down to at the very best.
    """
    if max(float(smallest_p(row.subjects)), smallest_adjusted_p) >= ALPHA:
        return TOO_FEW
    outside = row.low > 0 or row.high < 0
    if row.p_holm >= ALPHA or not outside:
        return NOT_SHOWN
    return SHOWN if row.p_trainings < ALPHA else NETWORKS


def mean_ranks(
    study: Study, rates: dict[str, float | None], metric: str = "dice"
) -> tuple[dict[str, float], int, float]:
    """Return each configuration's mean rank over people (1 is best), and Friedman's test.

    People are those that all configurations were tested on, in the splits that all have; equal
    scores share the mean of their ranks.

    Returns:
        Mean ranks by id, the number of people, and the p-value, NaN for fewer than three
        configurations.
    """
    chosen = [c for c in study.configurations if c.id in rates]
    found, names = _paired(
        [replicates_of(study, c, rates[c.id], metric, kind) for c in chosen] for kind in _KINDS
    )
    if not names:
        return {}, 0, float("nan")
    cases = np.stack([_cases(replicates, names) for replicates in found])
    cases[:, np.isnan(cases).any(axis=0)] = np.nan
    scores = mean(mean(cases, axis=3), axis=1)
    scores = scores[:, ~np.isnan(scores).any(axis=0)] * -METRICS[metric].better
    if not scores.size:
        return {}, 0, float("nan")
    ranks = stats.rankdata(scores, axis=0)
    tested = len(chosen) > 2 and scores.shape[1] > 1 and bool(np.ptp(ranks))
    p = float(stats.friedmanchisquare(*scores).pvalue) if tested else float("nan")
    return (
        {c.id: float(rank) for c, rank in zip(chosen, ranks.mean(axis=1), strict=True)},
        scores.shape[1],
        p,
    )


def _test_to_training(study: Study, *found: Replicates) -> float:
    """Return the mean ratio of test to training subjects; NaN if a run does not record it."""
    return float(np.mean([study.runs[i].test_to_training for own in found for i in own.runs]))
