"""The tables of a report that list its runs."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gaborseg.reporting.tables import Column, Spread, Table, Value
from gaborseg.study import (
    METRICS,
    Configuration,
    Results,
    by_person,
    interval_of_average,
    mean,
    rate_at_edge,
    readable_rate,
)
from gaborseg.sweeps import Round, read_rounds

_MEBIBYTE = 2**20
_PARTS = "energy_of"
ENERGY = Column("energy of a run [Wh]", 1 / 3600, 2)
"""Of joules."""


def leaderboard_table(results: Results) -> Table:
    """Return one row a configuration with its scores and its cost, the highest Dice first."""
    ranked = [name for name in results.metrics if METRICS[name].better]
    kinds = [METRICS[name] for name in ranked]
    dice = METRICS["dice"]
    columns = (
        Column("configuration"),
        Column("rate"),
        *(Column(f"{kind.title} [{kind.unit}]", kind.factor, kind.digits) for kind in kinds),
        *(Column(name, dice.factor, dice.digits) for name in ("Dice, 95 % from", "to")),
        Column("Dice of the worst subject", dice.factor, dice.digits),
        Column("parameters"),
        Column("time a step [s]", 1, 3),
        Column("peak memory [MiB]", 1, 0),
        *(Column(name) for name in ("subjects", "runs")),
    )
    order = sorted(
        results.shown, key=lambda c: -np.nan_to_num(_mean_score(results, c, "dice"), nan=-1)
    )
    rows = [_leaderboard_row(results, c, ranked) for c in order]
    if any(_joules(results, c) for c in order):
        columns = (*columns, ENERGY)
        rows = [(*row, _joules(results, c)) for row, c in zip(rows, order, strict=True)]
    best = frozenset(
        (int(np.nanargmax(values)), column)
        for column, name in enumerate(ranked, 2)
        for values in [[results.better(name) * _mean_score(results, c, name) for c in order]]
        if len(order) > 1 and results.better(name) and not np.isnan(values).all()
    )
    return Table(
        name="leaderboard",
        title="All configurations, the highest Dice first",
        columns=columns,
        rows=tuple(rows),
        best=best,
        note="Means over structures, ± standard deviation over splits (over seeds, if there is one "
        "split). Interval: of the mean Dice, bootstrap over subjects; whether two configurations "
        "differ, only their paired difference tells. Time and memory: median and highest of the "
        "runs, - where several devices are mixed. Bold: the best of its column."
        f"{energy_note(results)}",
    )


def _joules(results: Results, configuration: Configuration) -> float | None:
    """Return the energy of a run, None if it was not measured, or on several devices."""
    energies = [cost.energy_joules for cost in results.costs[configuration.id]]
    return energies[0] if len(energies) == 1 and energies[0] > 0 else None


def energy_note(results: Results) -> str:
    """Return what the energies are of, as the runs tell; empty if none was measured."""
    parts = sorted({str(part) for run in results.study.runs if (part := run.outcome.get(_PARTS))})
    if not parts:
        return ""
    return f" Energy: median of the runs, of {', '.join(parts)}, with all that ran beside."


def _mean_score(results: Results, configuration: Configuration, metric: str) -> float:
    return float(results.summaries[metric][configuration.id].mean[-1])


def _leaderboard_row(
    results: Results, configuration: Configuration, metrics: Sequence[str]
) -> tuple[Value, ...]:
    found = results.replicates["dice"][configuration.id]
    low, high = interval_of_average(found.by_person)
    by_subject = mean(mean(found.by_person, axis=2), axis=0)
    worst = float(np.nanmin(by_subject)) if not np.isnan(by_subject).all() else math.nan
    memory = [cost.peak_memory_bytes / _MEBIBYTE for cost in results.costs[configuration.id]]
    summaries = [results.summaries[metric][configuration.id] for metric in metrics]
    return (
        configuration.label,
        readable_rate(results.rates[configuration.id]),
        *(Spread(float(summary.mean[-1]), float(summary.std[-1])) for summary in summaries),
        low,
        high,
        worst,
        configuration.parameters,
        results.seconds_per_step(configuration),
        memory[0] if len(memory) == 1 else None,
        found.subjects,
        len(found.runs),
    )


def coverage_table(results: Results) -> Table | None:
    """Return how many runs each configuration has at each rate."""
    study = results.study
    if len(study.rates) < 2:
        return None
    rows: list[tuple[Value, ...]] = [
        (c.label, *(len(c.runs.get(rate, ())) for rate in study.rates))
        for c in study.configurations
    ]
    return Table(
        name="coverage",
        title="Finished runs by configuration and learning rate",
        columns=(Column("configuration"), *(Column(readable_rate(r)) for r in study.rates)),
        rows=tuple(rows),
        note=f"{len(study.runs)} runs; splits: {', '.join(_splits(results))}.",
    )


def _splits(results: Results) -> list[str]:
    return sorted({run.split for run in results.study.runs}, key=lambda s: (len(s), s))


def runs_table(results: Results) -> Table:
    """Return all finished runs."""
    study = results.study
    people = by_person(study.scores["dice"], study.people)
    by_run = mean(mean(people, axis=1), axis=1)
    tested = (~np.isnan(people)).any(axis=2).sum(axis=1)
    labels = {i: c.label for c in study.configurations for runs in c.runs.values() for i in runs}
    names = ("configuration", "rate", "split", "seed", "epochs")
    percent = [Column(f"{part} Dice [%]", 100, 1) for part in ("validation", "test")]
    rows = [
        (
            labels[i],
            readable_rate(run.rate),
            run.split,
            run.seed,
            len(run.curves),
            None if run.best_row is None else int(run.curves["epoch"].iloc[run.best_row]) + 1,
            run.validation_dice,
            float(by_run[i]),
            int(tested[i]),
            run.versions.get("git_commit", "")[:7],
            run.folder.name,
        )
        for i, run in enumerate(study.runs)
    ]
    return Table(
        name="runs",
        title="Finished runs",
        columns=(
            *(Column(name) for name in names),
            Column("best epoch"),
            *percent,
            *(Column(name) for name in ("test subjects", "code", "folder")),
        ),
        rows=tuple(rows),
    )


def unfinished_table(results: Results) -> Table:
    """Return the runs that were begun and not finished, and those that were not begun."""
    study = results.study
    compared = {run for found in _rounds(results) for run in found.values if found.epochs}
    rows: list[tuple[Value, ...]] = [
        (run.folder.name, *run.epochs, run.validation_dice, run.failure or state)
        for run in study.unfinished
        for state in ["paused by a search" if run.folder.absolute() in compared else "begun"]
    ]
    rows += [(folder.name, 0, None, None, "not begun") for folder in study.missing]
    columns = (
        *(Column(name) for name in ("folder", "epochs trained", "epochs asked for")),
        Column("validation Dice at the best epoch [%]", 100, 1),
        Column("state"),
    )
    return Table("unfinished", "Runs that are not finished", columns, tuple(rows))


def search_table(results: Results) -> Table | None:
    """Return what searches have compared their runs by, those that went farthest first."""
    rounds = _rounds(results)
    ends = dict.fromkeys(sorted(found.epochs or math.inf for found in rounds))
    values: dict[tuple[str, Path], dict[float, Value]] = {}
    for found in rounds:
        for run, value in found.values.items():
            values.setdefault((found.objective, run), {})[found.epochs or math.inf] = value
    if not values:
        return None
    columns = [f"after epoch {end}" if end < math.inf else "at the end" for end in ends]
    return Table(
        name="search",
        title="What a search compared",
        columns=(Column("folder"), Column("objective"), *(Column(c, 1, 4) for c in columns)),
        rows=tuple(
            (run.name, objective, *(by_end.get(end) for end in ends))
            for (objective, run), by_end in sorted(values.items(), key=lambda item: -max(item[1]))
        ),
        note="Values of the validation at each run's best epoch so far; a search sees no test.",
    )


def _rounds(results: Results) -> list[Round]:
    """Return the rounds of all searches that runs of a report belong to, with whole paths."""
    study = results.study
    runs = (*study.runs, *study.unfinished)
    homes = dict.fromkeys(run.folder.absolute().parent for run in runs)
    return [found for home in homes for found in read_rounds(home)]


_REPLICATES = "replicates: splits, or seeds if there is one split."


def learning_rate_table(results: Results) -> Table:
    """Return the numbers of Fig. 3: mean Dice of every configuration at every learning rate."""
    rows = []
    for c in results.study.configurations:
        curve = results.curves[c.id]
        counts = zip(curve.rates, curve.values, curve.subjects, curve.runs, strict=True)
        for rate, values, subjects, runs in counts:
            there = values[~np.isnan(values)]
            rows.append((c.label, rate, _spread(there), subjects, len(there), runs))
    columns = ("configuration", "learning rate", "test Dice [%]", "subjects", "replicates", "runs")
    return Table(
        name="learning_rate",
        title="Mean test Dice against learning rate",
        columns=tuple(Column(c, 100, 1) if "[%]" in c else Column(c) for c in columns),
        rows=tuple(rows),
        note=f"Mean ± standard deviation over replicates; {_REPLICATES}",
    )


def _spread(values: np.ndarray) -> Spread:
    mean = float(np.mean(values)) if len(values) else math.nan
    return Spread(mean, float(np.std(values, ddof=1)) if len(values) > 1 else math.nan)


def robustness_table(results: Results) -> Table:
    """Return how much each configuration depends on its learning rate."""
    columns = (
        Column("configuration"),
        Column("area: mean Dice over log rate [%]", 100, 1),
        Column("width within 1 point [decades]", 1, 2),
        Column("wider than tested"),
        Column("best rate"),
        Column("best minus worst [points]", 100, 1),
        Column("rates"),
        Column("subjects"),
        Column("replicates"),
    )
    rows = [
        (
            c.label,
            Spread(found.area, found.area_std),
            found.width,
            "maybe" if found.open_end else "no",
            readable_rate(found.best),
            found.drop,
            _range(found.rates),
            found.subjects,
            len(found.names),
        )
        for c in results.study.configurations
        if (found := results.robustness.get(c.id)) is not None
    ]
    comparable = len({found.basis for found in results.robustness.values()}) <= 1
    areas = [row[1].mean for row in rows] if comparable and len(rows) > 1 else []
    return Table(
        name="robustness",
        title="Robustness to the learning rate",
        columns=columns,
        rows=tuple(rows),
        best=frozenset((i, 1) for i, area in enumerate(areas) if area == max(areas)),
        note="Area under mean test Dice against log10 of the rate, over the width of the range (± "
        "standard deviation over replicates); decades around the best rate in which the piecewise "
        "linear curve stays within one Dice point of it. All from the replicates that a "
        f"configuration has at every one of its rates; {_REPLICATES}"
        + ("" if comparable else " Rates or replicates differ: these areas must not be compared."),
    )


def edge_notes(results: Results) -> list[str]:
    """Return a line for every rate that was the best one and at an end of the tested ones.

    The best by validation Dice: test subjects choose no rate.
    """
    several = [c for c in results.study.configurations if len(c.runs) > 1]
    found: dict[tuple[float, str, str], list[str]] = {}
    for c in several:
        if (rate := rate_at_edge(results.study, c)) is not None:
            highest = rate == max(other for other in c.runs if other is not None)
            end = ("largest", "larger") if highest else ("smallest", "smaller")
            found.setdefault((rate, *end), []).append(c.label)
    return [
        f"The best learning rate by validation Dice, {readable_rate(rate)}, is the {end} tested "
        f"for {_who(labels, len(several))}: try {further} ones."
        for (rate, end, further), labels in found.items()
    ]


def _who(labels: Sequence[str], of: int, most: int = 2) -> str:
    """Return configurations by name if they are few, else how many they are.

    >>> _who(["Gabor", "mixed"], 9), _who(["Gabor", "mixed", "other"], 9)
    ('Gabor and mixed', '3 of 9 configurations')
    """
    if len(labels) <= most:
        return " and ".join(labels)
    return (
        f"all {of} configurations" if len(labels) == of else f"{len(labels)} of {of} configurations"
    )


def _range(rates: tuple[float, ...]) -> str:
    return f"{readable_rate(rates[0])} ... {readable_rate(rates[-1])} ({len(rates)})"
