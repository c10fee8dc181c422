"""Everything that is computed from the runs, once; tables, figures and page only show it."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

import numpy as np

from gaborseg.study.comparisons import Comparison, compare_all, mean_ranks
from gaborseg.study.configurations import Configuration
from gaborseg.study.names import METRICS, readable_rate
from gaborseg.study.robustness import Curve, Robustness, curve_of, robustness
from gaborseg.study.run_folders import RunRecord
from gaborseg.study.study import Study
from gaborseg.study.summaries import (
    Replicates,
    Summary,
    chosen_rates,
    nsd_tolerances,
    replicates_of,
    same_tolerance,
    summarise,
)

_COMPARED = ("dice", "hd95", "nsd")
Counts = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Cost:
    """What the runs of a configuration took on one kind of device.

    Attributes:
        device: As the runs tell; empty if they don't.
        runs: Number of runs behind the numbers.
        seconds_per_step: Median over the runs, NaN if it was not logged.
        peak_memory_bytes: Highest of the runs, NaN if it was not logged.
        seconds_per_epoch: Median over runs of the median over epochs, validation included.
        epochs: Median over the runs.
        energy_joules: Median over the runs, NaN if it was not measured, or not of the same parts.
    """

    device: str
    runs: int
    seconds_per_step: float
    peak_memory_bytes: float
    seconds_per_epoch: float
    epochs: float
    energy_joules: float


@dataclass(frozen=True)
class Results:
    """What is computed from the runs.

    Attributes:
        study: The runs.
        rates: The learning rate at which each configuration is shown, by its id; configurations
            that lack the rate are not in it.
        replicates: By metric and configuration id.
        summaries: By metric and configuration id.
        curves: Dice against learning rate, by configuration id.
        robustness: By configuration id, of those with more than one learning rate.
        comparisons: By metric.
        ranks: Mean rank by configuration id, number of subjects, p-value of Friedman's test.
        costs: By configuration id, one entry a kind of device.
        parameters: Number of trained parameters by configuration id, level and kind.
    """

    study: Study
    rates: dict[str, float | None]
    replicates: dict[str, dict[str, Replicates]]
    summaries: dict[str, dict[str, Summary]]
    curves: dict[str, Curve]
    robustness: dict[str, Robustness]
    comparisons: dict[str, list[Comparison]]
    ranks: tuple[dict[str, float], int, float]
    costs: dict[str, list[Cost]]
    parameters: Mapping[str, Counts]

    @property
    def shown(self) -> list[Configuration]:
        """The configurations that have the chosen learning rate."""
        return [c for c in self.study.configurations if c.id in self.rates]

    def runs_of(self, configuration: Configuration) -> list[RunRecord]:
        """Return the runs of a configuration at its chosen learning rate."""
        return [self.study.runs[i] for i in configuration.runs[self.rates[configuration.id]]]

    @property
    def metrics(self) -> list[str]:
        """The scores that some of the shown runs have."""
        return list(self.summaries)

    @property
    def notes(self) -> list[str]:
        """What the reader should know beside what is wrong with run folders."""
        lacking = [c.label for c in self.study.configurations if c.id not in self.rates]
        if not lacking:
            return list(self.study.notes)
        rate = readable_rate(next(iter(self.rates.values())))
        note = f"Left out, for want of a run at learning rate {rate}: {'; '.join(lacking)}."
        return [*self.study.notes, f"{note} With rate=best each is compared at its own best rate."]

    @property
    def nsd_tolerances(self) -> dict[str, set[str]]:
        """In mm, by the id of each shown configuration with NSD; ``"?"`` if not recorded."""
        found = self.replicates.get("nsd", {})
        measured = {key: own for key, own in found.items() if not np.isnan(own.cases).all()}
        return {key: nsd_tolerances(self.study, own) for key, own in measured.items()}

    def better(self, metric: str) -> int:
        """Return which values of a score are the better ones of all that are shown.

        1: the higher, -1: the lower, 0: neither, or NSD of several tolerances or unknown ones.
        """
        if metric == "nsd" and not same_tolerance(set[str]().union(*self.nsd_tolerances.values())):
            return 0
        return METRICS[metric].better

    @property
    def timed_on(self) -> str | None:
        """The one device that the times of all shown configurations are from; None if several."""
        timed = [
            cost.device
            for c in self.shown
            for cost in self.costs[c.id]
            if not math.isnan(cost.seconds_per_step)
        ]
        return timed[0] or None if len(set(timed)) == 1 else None

    def seconds_per_step(self, configuration: Configuration) -> float:
        """Return the time of a training step; NaN if it was not logged, or not on one device."""
        times = [cost.seconds_per_step for cost in self.costs[configuration.id]]
        there = [seconds for seconds in times if not math.isnan(seconds)]
        return there[0] if there and self.timed_on else math.nan


def compute(
    study: Study, rate: str | float = "auto", parameters: Mapping[str, Counts] | None = None
) -> Results:
    """Return all results of the runs.

    Args:
        study: The runs.
        rate: The learning rate at which configurations are compared: a number, ``"auto"`` or
            ``"best"``; see ``chosen_rates``.
        parameters: Number of trained parameters by configuration id, level and kind.

    Raises:
        ValueError: If no configuration has that rate.
    """
    rates = chosen_rates(study, rate)
    shown = [c for c in study.configurations if c.id in rates]
    replicates = {
        metric: {c.id: replicates_of(study, c, rates[c.id], metric) for c in shown}
        for metric in METRICS
        if metric in study.scores
    }
    summaries = {
        metric: {key: summarise(found) for key, found in by_configuration.items()}
        for metric, by_configuration in replicates.items()
    }
    curves = {c.id: curve_of(study, c) for c in study.configurations}
    robust = {key: robustness(curve) for key, curve in curves.items()}
    return Results(
        study=study,
        rates=rates,
        replicates=replicates,
        summaries=summaries,
        curves=curves,
        robustness={key: value for key, value in robust.items() if value is not None},
        comparisons={m: compare_all(study, rates, m) for m in _COMPARED if m in study.scores},
        ranks=mean_ranks(study, rates),
        costs={c.id: _costs_of(study, c) for c in study.configurations},
        parameters=parameters or {},
    )


def _costs_of(study: Study, configuration: Configuration) -> list[Cost]:
    """Return what the runs of a configuration took, device by device."""
    by_device: dict[str, list[RunRecord]] = {}
    for position in (i for runs in configuration.runs.values() for i in runs):
        run = study.runs[position]
        by_device.setdefault(str(run.outcome.get("device") or ""), []).append(run)
    costs = [_cost(device, runs) for device, runs in sorted(by_device.items())]
    return [cost for cost in costs if not math.isnan(cost.seconds_per_epoch + cost.epochs)]


def _cost(device: str, runs: list[RunRecord]) -> Cost:
    return Cost(
        device=device,
        runs=len(runs),
        seconds_per_step=_median(_number(run, "seconds_per_step") for run in runs),
        peak_memory_bytes=_highest(_number(run, "peak_memory_bytes") for run in runs),
        seconds_per_epoch=_median(_seconds_per_epoch(run) for run in runs),
        epochs=_median(float(len(run.curves)) for run in runs),
        energy_joules=_energy(runs),
    )


def _energy(runs: list[RunRecord]) -> float:
    """Return the median energy of runs, NaN if it is not of the same parts of the machine."""
    parts = {run.outcome.get("energy_of") for run in runs if run.outcome.get("energy_joules")}
    return _median(_number(run, "energy_joules") for run in runs) if len(parts) == 1 else math.nan


def _seconds_per_epoch(run: RunRecord) -> float:
    seconds = run.curves.get("seconds")
    return float("nan") if seconds is None else float(np.nanmedian(seconds))


def _number(run: RunRecord, key: str) -> float:
    value = run.outcome.get(key)
    return float(value) if isinstance(value, int | float) else float("nan")


def _median(values: Iterable[float]) -> float:
    there = [value for value in values if not math.isnan(value)]
    return median(there) if there else float("nan")


def _highest(values: Iterable[float]) -> float:
    return max((value for value in values if not math.isnan(value)), default=float("nan"))
