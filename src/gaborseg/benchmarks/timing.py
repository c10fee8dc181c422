"""Timing of alternatives in turn, so that a drifting machine drifts for all of them."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import NamedTuple


class Spread(NamedTuple):
    """Median and quartiles of repeated measurements."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of values, at least one."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, median, high = quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)

    def scaled(self, factor: float) -> "Spread":
        """The spread in another unit."""
        return Spread(*(factor * value for value in self))


@dataclass(frozen=True)
class Timings:
    """How long one candidate took in each round, in seconds."""

    seconds: tuple[float, ...]

    @property
    def spread(self) -> Spread:
        """Median and quartiles over the rounds, in seconds."""
        return Spread.of(self.seconds)

    def scaled(self, factor: float) -> "Timings":
        """The timings of a part of what was timed."""
        return Timings(tuple(factor * second for second in self.seconds))

    def ratio(self, baseline: "Timings") -> Spread:
        """Median and quartiles of this candidate's time over the baseline's, round by round."""
        return Spread.of([a / b for a, b in zip(self.seconds, baseline.seconds, strict=True)])


def interleave(
    candidates: Mapping[str, Callable[[], object]],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timings]:
    """Run all candidates once to warm up, then in turn, A B C A B C ..., and time each call.

    Args:
        candidates: What to call, by name.
        repeats: Timed rounds, at least 1.
        clock: Returns the time in seconds.

    Returns:
        The timings of each candidate; round i of one belongs to round i of the others.
    """
    for candidate in candidates.values():
        candidate()
    rounds = [
        [_duration(candidate, clock) for candidate in candidates.values()] for _ in range(repeats)
    ]
    columns = zip(*rounds, strict=True)
    return {name: Timings(column) for name, column in zip(candidates, columns, strict=True)}


def total(parts: Iterable[tuple[int, Timings]]) -> Timings:
    """The time of several parts, each with the number of times that it occurs, round by round."""
    weighted = [[count * second for second in timings.seconds] for count, timings in parts]
    return Timings(tuple(map(sum, zip(*weighted, strict=True))))


def _duration(candidate: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    candidate()
    return clock() - start
