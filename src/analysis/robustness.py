"""How much a configuration depends on its learning rate, in two numbers."""

from dataclasses import dataclass

import numpy as np

from src.analysis.configurations import Configuration
from src.analysis.study import Array, Study
from src.analysis.summaries import mean, replicates_of

TOLERANCE = 0.01  # one Dice point


@dataclass(frozen=True)
class Curve:
    """Mean test Dice against learning rate.

    Attributes:
        configuration: Whose.
        rates: Lowest first (N).
        names: Of the replicates, of all rates together (J).
        values: Mean Dice over structures (N, J), NaN where a replicate lacks a rate.
        runs: Number of runs behind each rate (N).
    """

    configuration: Configuration
    rates: tuple[float, ...]
    names: tuple[str, ...]
    values: Array
    runs: tuple[int, ...]

    @property
    def mean(self) -> Array:
        """Mean over the replicates of each rate (N)."""
        return mean(self.values, axis=1)


@dataclass(frozen=True)
class Robustness:
    """The two numbers, and what they rest on.

    Attributes:
        area: Mean Dice over the range of log10 rates: the area under the curve over its width.
        area_std: Standard deviation of the area over the replicates that have all rates.
        width: Decades of learning rate around the best in which the curve stays within one Dice
            point of it.
        open_end: Whether that range reaches an end of the tested rates, so that it may be wider.
        best: Rate of the highest mean Dice.
        drop: Highest minus lowest mean Dice.
    """

    area: float
    area_std: float
    width: float
    open_end: bool
    best: float
    drop: float


def curve_of(study: Study, configuration: Configuration) -> Curve:
    """Return mean Dice against learning rate of a configuration."""
    rates = tuple(rate for rate in configuration.runs if rate is not None)
    found = [replicates_of(study, configuration, rate) for rate in rates]
    names = tuple(dict.fromkeys(name for replicates in found for name in replicates.names))
    values = np.full((len(rates), len(names)), np.nan)
    for row, replicates in enumerate(found):
        columns = [names.index(name) for name in replicates.names]
        values[row, columns] = replicates.averages
    return Curve(configuration, rates, names, values, tuple(len(r.runs) for r in found))


def robustness(curve: Curve) -> Robustness | None:
    """Return the robustness of a curve of at least two rates; None for fewer."""
    if len(curve.rates) < 2 or np.isnan(curve.mean).any():
        return None
    decades = np.log10(curve.rates)
    whole = curve.values[:, ~np.isnan(curve.values).any(axis=0)]
    areas = [area(decades, values) for values in whole.T]
    low, high = tolerated_range(decades, curve.mean)
    return Robustness(
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
    decades: Array, values: Array, tolerance: float = TOLERANCE
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
