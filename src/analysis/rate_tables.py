"""The tables of a report about learning rates."""

import math

import numpy as np

from src.analysis.names import readable_rate
from src.analysis.results import Results
from src.analysis.tables import Column, Spread, Table

REPLICATES = "replicates: splits, or seeds if there is one split."


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
        note=f"Mean ± standard deviation over replicates; {REPLICATES}",
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
        f"configuration has at every one of its rates; {REPLICATES}"
        + ("" if comparable else " Rates or replicates differ: these areas must not be compared."),
    )


def _range(rates: tuple[float, ...]) -> str:
    return f"{readable_rate(rates[0])} ... {readable_rate(rates[-1])} ({len(rates)})"
