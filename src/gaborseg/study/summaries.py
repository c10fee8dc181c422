"""Means over people, then standard deviations over splits: what Table 1b and Fig. 3 show."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from gaborseg.study.configurations import Configuration
from gaborseg.study.study import Array, Study

PAPER_RATE = 1e-3
_BEST = "best"


@dataclass(frozen=True)
class Replicates:
    """The scores of a configuration at one learning rate, one entry a replicate.

    A replicate is a split, with the mean over its seeds; if all runs share one split, a seed.

    Attributes:
        kind: ``"split"`` or ``"seed"``.
        names: Of the replicates (J).
        splits: Of the runs.
        cases: Scores of subjects and structures (J, S, T), NaN where there is none.
        runs: Positions of the runs in the study.
        rate: The learning rate.
        people: Whose scan each subject is (S).
    """

    kind: str
    names: tuple[str, ...]
    splits: frozenset[str]
    cases: Array
    runs: tuple[int, ...]
    rate: float | None
    people: tuple[str, ...]

    @property
    def by_person(self) -> Array:
        """Mean over the scans of each person, (J, P, T)."""
        return by_person(self.cases, self.people)

    @property
    def by_structure(self) -> Array:
        """Mean over people, (J, T)."""
        return mean(self.by_person, axis=1)

    @property
    def averages(self) -> Array:
        """Mean over structures of the mean over people, (J,)."""
        return mean(self.by_structure, axis=1)

    @property
    def subjects(self) -> int:
        """Number of different people who were tested."""
        return int((~np.isnan(self.by_person)).any(axis=(0, 2)).sum())

    @property
    def count(self) -> str:
        """From how many subjects and replicates the numbers come, for the reader.

        ``43 subjects, 5 splits``; more runs than replicates are told as well.
        """
        replicates = len(self.names)
        words = [_counted(self.subjects, "subject"), _counted(replicates, self.kind)]
        if len(self.runs) > replicates:
            words.append(_counted(len(self.runs), "run"))
        return ", ".join(words)


@dataclass(frozen=True)
class Summary:
    """Mean and standard deviation over replicates, per structure and of the average.

    Attributes:
        mean: (T + 1,), the average over structures last.
        std: (T + 1,), with J - 1 in the denominator; NaN for one replicate.
    """

    mean: Array
    std: Array


def replicates_of(
    study: Study,
    configuration: Configuration,
    rate: float | None,
    metric: str = "dice",
    kind: str | None = None,
) -> Replicates:
    """Return the scores of a configuration at a learning rate, split by split.

    Args:
        study: The runs.
        configuration: Whose runs.
        rate: At which of its learning rates.
        metric: Which score.
        kind: ``"split"`` or ``"seed"``; None: as these runs have it.
    """
    positions = configuration.runs[rate]
    kind = kind or kind_of(study, positions)
    groups: dict[str, list[int]] = {}
    for i in positions:
        run = study.runs[i]
        groups.setdefault(run.split if kind == "split" else str(run.seed), []).append(i)
    names = tuple(sorted(groups, key=lambda name: (len(name), name)))
    scores = study.scores[metric]
    cases = np.stack([mean(scores[groups[name]], axis=0) for name in names])
    splits = frozenset(study.runs[i].split for i in positions)
    return Replicates(kind, names, splits, cases, positions, rate, study.people)


def by_person(cases: Array, people: Sequence[str]) -> Array:
    """Return the mean over the scans of each person, (J, P, C), NaN where there is none.

    Args:
        cases: Of replicates, subjects and columns (J, S, C), NaN where a subject was not tested.
        people: Whose scan each subject is (S).
    """
    places: dict[str, list[int]] = {}
    for place, person in enumerate(people):
        places.setdefault(person, []).append(place)
    if len(places) == len(people):
        return cases
    return np.stack([mean(cases[:, own], axis=1) for own in places.values()], axis=1)


def kind_of(study: Study, positions: Iterable[int]) -> str:
    """Return what repeats runs: ``"seed"`` if several share their one split, else ``"split"``."""
    runs = [study.runs[i] for i in positions]
    several = len({run.split for run in runs}) == 1 < len({run.seed for run in runs})
    return "seed" if several else "split"


def nsd_tolerances(study: Study, *found: Replicates) -> set[str]:
    """Return the NSD tolerances of runs in mm, to four digits; ``"?"`` if it is not recorded."""
    told = (study.runs[i].outcome.get("nsd_tolerance") for own in found for i in own.runs)
    return {f"{mm:.4g}" if isinstance(mm, int | float) else "?" for mm in told}


def same_tolerance(tolerances: set[str]) -> bool:
    """Return whether NSD of these tolerances can be compared: one that is recorded."""
    return len(tolerances) == 1 and "?" not in tolerances


def summarise(replicates: Replicates) -> Summary:
    """Return mean and standard deviation over the replicates."""
    values = np.column_stack([replicates.by_structure, replicates.averages])
    return Summary(mean(values, axis=0), std(values))


def mean(values: Array, axis: int) -> Array:
    """Return the mean of what is there, NaN where nothing is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmean(values, axis=axis)


def std(values: Array) -> Array:
    """Return the sample standard deviation of each column, NaN for fewer than two values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanstd(values, axis=0, ddof=1)


def chosen_rates(study: Study, rate: str | float = "auto") -> dict[str, float | None]:
    """Return the learning rate at which each configuration is shown, by its id.

    Args:
        study: The runs.
        rate: A rate: configurations without it are left out. ``"best"``: each configuration's
            highest mean validation Dice. ``"auto"``: the paper's 10^-3 if more than one
            configuration in two has it, or else ``"best"``.

    Raises:
        ValueError: If no configuration has that rate, or it is none of these.
    """
    if rate == "auto":
        having = [c for c in study.configurations if _rate_in(c, PAPER_RATE) is not None]
        rate = PAPER_RATE if 2 * len(having) > len(study.configurations) else _BEST
    if rate == _BEST:
        return {c.id: _best_rate(study, c) for c in study.configurations}
    if isinstance(rate, str) or not rate > 0:
        raise ValueError(f"rate must be auto, best or a positive number, got {rate}")
    chosen = {c.id: _rate_in(c, rate) for c in study.configurations}
    chosen = {identifier: found for identifier, found in chosen.items() if found is not None}
    if not chosen:
        there = ", ".join(f"{r:.3g}" for r in study.rates) or "none that is recorded"
        raise ValueError(f"rate must be a learning rate of the runs ({there}), got {rate:g}")
    return dict(chosen)


def _best_rate(study: Study, configuration: Configuration) -> float | None:
    """Return the rate of the highest mean validation Dice; of unvalidated runs, the first."""

    def validation(rate: float | None) -> float:
        return float(np.nan_to_num(_mean_validation(study, configuration, rate), nan=-1.0))

    return max(configuration.runs, key=validation)


def rate_at_edge(study: Study, configuration: Configuration) -> float | None:
    """Return the rate of the highest mean validation Dice if it is the lowest or highest tested.

    None if it lies between others or is no better than another, if there are fewer than two rates,
    or if their runs were not validated.
    """
    tested = [rate for rate in configuration.runs if rate is not None]
    means = [_mean_validation(study, configuration, rate) for rate in tested]
    if len(tested) < 2 or np.isnan(means).all() or means.count(np.nanmax(means)) > 1:
        return None
    best = tested[int(np.nanargmax(means))]
    return best if best in (min(tested), max(tested)) else None


def _mean_validation(study: Study, configuration: Configuration, rate: float | None) -> float:
    return float(np.mean([study.runs[i].validation_dice for i in configuration.runs[rate]]))


def _rate_in(configuration: Configuration, rate: float) -> float | None:
    near = [r for r in configuration.runs if r is not None and abs(np.log10(r / rate)) < 1e-3]
    return near[0] if near else None


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
