"""How much a configuration depends on its learning rate, in two numbers."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gaborseg.study.configurations import Configuration
from gaborseg.study.study import Array, Study
from gaborseg.study.summaries import kind_of, mean, replicates_of

_TOLERANCE = 0.01  # one Dice point


@dataclass(frozen=True)
class Curve:
    """Mean test Dice against learning rate.

    Attributes:
        configuration: Whose.
        kind: What the replicates are, ``"split"`` or ``"seed"``, the same at all rates.
        rates: Lowest first (N).
        names: Of the replicates, of all rates together (J).
        values: Mean Dice over structures (N, J), NaN where a replicate lacks a rate.
        tested: Whether a person has a Dice (N, J, P).
        runs: Number of runs behind each rate (N).
    """

    configuration: Configuration
    kind: str
    rates: tuple[float, ...]
    names: tuple[str, ...]
    values: Array
    tested: NDArray[np.bool_]
    runs: tuple[int, ...]

    @property
    def mean(self) -> Array:
        """Mean over the replicates that each rate has (N)."""
        return mean(self.values, axis=1)

    @property
    def subjects(self) -> list[int]:
        """Number of different people behind each rate (N)."""
        return self.tested.any(axis=1).sum(axis=1).tolist()

    @property
    def shared(self) -> "Curve":
        """The same with none but the replicates that all rates have."""
        whole = np.flatnonzero(~np.isnan(self.values).any(axis=0))
        return replace(
            self,
            names=tuple(self.names[column] for column in whole),
            values=self.values[:, whole],
            tested=self.tested[:, whole],
        )


@dataclass(frozen=True)
class Robustness:
    """The two numbers, from the replicates that have all rates, and what they rest on.

    Attributes:
        rates: Lowest first.
        kind: What the replicates are, ``"split"`` or ``"seed"``.
        names: Of the replicates.
        subjects: Number of different people behind the numbers.
        area: Mean Dice over the range of log10 rates: the area under the curve over its width.
        area_std: Standard deviation of the area over the replicates.
        width: Decades of learning rate around the best in which the curve stays within one Dice
            point of it.
        open_end: Whether that range reaches an end of the tested rates, so that it may be wider.
        best: Rate of the highest mean Dice.
        drop: Highest minus lowest mean Dice.
    """

    rates: tuple[float, ...]
    kind: str
    names: tuple[str, ...]
    subjects: int
    area: float
    area_std: float
    width: float
    open_end: bool
    best: float
    drop: float

    @property
    def basis(self) -> tuple[object, ...]:
        """What the numbers are of: those of another basis must not be compared with them."""
        return (self.rates, self.kind, self.names)


def curve_of(study: Study, configuration: Configuration) -> Curve:
    """Return mean Dice against learning rate of a configuration."""
    rates = tuple(rate for rate in configuration.runs if rate is not None)
    kind = kind_of(study, (i for rate in rates for i in configuration.runs[rate]))
    found = [replicates_of(study, configuration, rate, kind=kind) for rate in rates]
    names = tuple(dict.fromkeys(name for replicates in found for name in replicates.names))
    values = np.full((len(rates), len(names)), np.nan)
    tested = np.zeros((*values.shape, len(set(study.people))), dtype=bool)
    for row, replicates in enumerate(found):
        columns = [names.index(name) for name in replicates.names]
        values[row, columns] = replicates.averages
        tested[row, columns] = ~np.isnan(replicates.by_person).all(axis=2)
    runs = tuple(len(replicates.runs) for replicates in found)
    return Curve(configuration, kind, rates, names, values, tested, runs)


def robustness(curve: Curve) -> Robustness | None:
    """Return the robustness of a curve; None for one rate, or no replicate that has all rates."""
    curve = curve.shared
    if len(curve.rates) < 2 or not curve.names:
        return None
    decades = np.log10(curve.rates)
    areas = [area(decades, values) for values in curve.values.T]
    low, high = tolerated_range(decades, curve.mean)
    return Robustness(
        rates=curve.rates,
        kind=curve.kind,
        names=curve.names,
        subjects=int(curve.tested.any(axis=(0, 1)).sum()),
        area=area(decades, curve.mean),
        area_std=float(np.std(areas, ddof=1)) if len(areas) > 1 else float("nan"),
        width=high - low,
        open_end=bool(low == decades[0] or high == decades[-1]),
        best=curve.rates[int(np.argmax(curve.mean))],
        drop=float(np.ptp(curve.mean)),
    )


def area(decades: Array, values: Array) -> float:
    """Return the area under a piecewise linear curve, over the width of its range."""
    return float(np.trapezoid(values, decades) / np.ptp(decades))


def tolerated_range(
    decades: Array, values: Array, tolerance: float = _TOLERANCE
) -> tuple[float, float]:
    """Return the range around the maximum in which a piecewise linear curve stays near it.

    >>> decades, values = np.array([-4.0, -3.0, -2.0]), np.array([0.78, 0.80, 0.70])
    >>> [round(float(end), 3) for end in tolerated_range(decades, values)]
    [-3.5, -2.9]
    """
    best = int(np.argmax(values))
    floor = values[best] - tolerance
    low = _crossing(decades[best::-1], values[best::-1], floor)
    return low, _crossing(decades[best:], values[best:], floor)


def _crossing(decades: Array, values: Array, floor: float) -> float:
    """Return where a curve that starts above the floor first comes down to it, or its end."""
    for i in range(1, len(values)):
        if values[i] < floor:
            share = (values[i - 1] - floor) / (values[i - 1] - values[i])
            return float(decades[i - 1] + share * (decades[i] - decades[i - 1]))
    return float(decades[-1])
