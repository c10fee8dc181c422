"""The tables of a report."""

import math
from collections.abc import Callable, Iterable

import numpy as np

from gaborseg.networks import kinds_in
from gaborseg.reporting.run_tables import (
    ENERGY,
    coverage_table,
    energy_note,
    leaderboard_table,
    learning_rate_table,
    robustness_table,
    runs_table,
    search_table,
    unfinished_table,
)
from gaborseg.reporting.tables import Column, Spread, Table, Value, best_cells
from gaborseg.study import (
    AVERAGE,
    KERNELS,
    METRICS,
    PAPER_RATE,
    VERDICTS,
    Configuration,
    Metric,
    Results,
    by_person,
    mean,
    published,
    readable,
    readable_rate,
)

_MEBIBYTE = 2**20


def all_tables(results: Results) -> list[Table]:
    """Return every table that the runs have numbers for."""
    makers: list[Callable[[Results], Table | None]] = [
        leaderboard_table,
        _paper_table,
        learning_rate_table,
        robustness_table,
        _ranks_table,
        _volumes_table,
        _parameters_table,
        _cost_table,
        coverage_table,
        runs_table,
        unfinished_table,
        search_table,
    ]
    tables = [
        *(_structures_table(results, metric) for metric in results.metrics),
        *(_comparisons_table(results, metric) for metric in results.comparisons),
        *(maker(results) for maker in makers),
    ]
    return [table for table in tables if table is not None and table.rows]


def _shown_column(metric: Metric, heading: str = "") -> Column:
    """Return the column that shows a metric."""
    return Column(heading or f"{metric.title} [{metric.unit}]", metric.factor, metric.digits)


def _structures_table(results: Results, metric: str) -> Table:
    """Return the paper's Table 1b of a metric: structures by configurations."""
    kind = METRICS[metric]
    columns = [Column("structure"), *(_shown_column(kind, heading(c)) for c in results.shown)]
    names = [*(readable(s) for s in results.study.structures), AVERAGE]
    found = [results.summaries[metric][c.id] for c in results.shown]
    rows: list[tuple[Value, ...]] = [
        (name, *(Spread(float(s.mean[i]), float(s.std[i])) for s in found))
        for i, name in enumerate(names)
    ]
    means = [[float(s.mean[i]) for s in found] for i in range(len(names))]
    return Table(
        name=f"structures_{metric}",
        title=f"Test {kind.title} [{kind.unit}] per structure",
        columns=tuple(columns),
        rows=tuple(rows),
        best=best_cells(means, range(1, len(columns)), columns[-1], results.better(metric)),
        note=f"{spread_note(results)} {count_note(results, metric)}",
    )


def heading(configuration: Configuration) -> str:
    """Return a configuration's label with its number of parameters."""
    count = configuration.parameters
    return configuration.label + (f" ({count / 1e6:.2f} M)" if count else "")


def spread_note(results: Results) -> str:
    """Return what mean and std are taken over, and at which learning rates."""
    kinds = {r.kind for by_id in results.replicates.values() for r in by_id.values()}
    over = " or ".join(f"{kind}s" for kind in sorted(kinds))
    return (
        f"Mean ± standard deviation over {over}, of means over test subjects; {rate_note(results)}"
    )


def rate_note(results: Results) -> str:
    """Return at which learning rates the configurations are shown."""
    rates = set(results.rates.values())
    if len(rates) == 1:
        return f"learning rate {readable_rate(next(iter(rates)))}."
    return "learning rate of the highest validation Dice: " + _listed(
        f"{c.label} {readable_rate(results.rates[c.id])}" for c in results.shown
    )


def count_note(results: Results, metric: str = "dice") -> str:
    """Return from how many subjects, splits and runs the numbers come, and NSD's tolerance."""
    groups: dict[str, list[str]] = {}
    for c in results.shown:
        groups.setdefault(results.replicates[metric][c.id].count, []).append(c.label)
    usual, *others = sorted(groups, key=lambda count: -len(groups[count]))
    but = [f"{count} ({', '.join(groups[count])})" for count in others]
    words = f"From {usual} each{', but ' if but else ''}{'; '.join(but)}."
    return f"{words} {_tolerance_note(results)}" if metric == "nsd" else words


def _tolerance_note(results: Results) -> str:
    """Return within how many millimetres NSD counts a surface as found."""
    found = results.nsd_tolerances
    different = set[str]().union(*found.values()) or {"?"}
    if len(different) == 1:
        return f"Tolerance: {_millimetres(different)}."
    labels = {c.id: c.label for c in results.shown}
    told = _listed(f"{_millimetres(own)} ({labels[key]})" for key, own in found.items())
    return f"Tolerances differ, so NSD must not be compared: {told}"


def _millimetres(tolerances: Iterable[str]) -> str:
    words = ("not recorded" if mm == "?" else f"{mm} mm" for mm in sorted(tolerances))
    return " or ".join(words)


def _listed(parts: Iterable[str]) -> str:
    return "; ".join(parts) + "."


def _paper_table(results: Results) -> Table | None:
    """Return our Dice beside the paper's, of the kernels, losses and structures that both have."""
    structures = results.study.structures
    theirs = {c.id: published(c.kernel, c.loss, structures) for c in results.shown}
    both = [c for c in results.shown if any(theirs[c.id])]
    if not both:
        return None
    dice = _shown_column(METRICS["dice"])
    columns = [Column("structure")]
    for c in both:
        columns += [Column(c.label, dice.factor, dice.digits), Column(f"{c.label}, paper", 100, 0)]
    rows = []
    for i, structure in enumerate((*structures, AVERAGE)):
        row: list[Value] = [readable(structure)]
        for c in both:
            ours, paper = results.summaries["dice"][c.id], theirs[c.id][i]
            row.append(Spread(float(ours.mean[i]), float(ours.std[i])))
            row.append(None if paper is None else Spread(*paper))
        rows.append(tuple(row))
    return Table(
        name="paper",
        title="Test Dice [%] beside the paper's",
        columns=tuple(columns),
        rows=tuple(rows),
        note=f"{spread_note(results)} {count_note(results)} The paper's numbers are of 43 scans of "
        f"its own at learning rate {readable_rate(PAPER_RATE)}: other data, so not the same task.",
    )


def _comparisons_table(results: Results, metric: str) -> Table:
    """Return all paired comparisons of a metric."""
    kind = METRICS[metric]
    unit = "points" if kind.unit == "%" else kind.unit
    columns = (
        *(Column(name) for name in ("first", "second", "structure")),
        *(
            Column(f"{name} [{unit}]", kind.factor, kind.digits + 1)
            for name in ("first - second", "95 % from", "to")
        ),
        *(Column(name) for name in ("subjects", "cases", "replicates", "of the same sign")),
        *(Column(name) for name in ("p (subjects)", "p (Holm)", "p (trainings)")),
        *(Column(name, 1, 2) for name in ("rank-biserial r", "Cohen's dz")),
        Column("verdict"),
    )
    labels = {c.id: c.label for c in results.shown}
    rows = [
        (
            *(labels[row.first], labels[row.second], readable(row.structure)),
            *(row.difference, row.low, row.high),
            *(row.subjects, row.cases, row.replicates, row.agreeing),
            *(row.p, row.p_holm, row.p_trainings, row.rank_biserial, row.dz, row.verdict),
        )
        for row in results.comparisons[metric]
    ]
    verdicts = " ".join(f"{name}: {meaning}" for name, meaning in VERDICTS.items())
    tolerance = f" {_tolerance_note(results)}" if metric == "nsd" else ""
    return Table(
        name=f"comparisons_{metric}",
        title=f"Paired differences of test {kind.title}",
        columns=columns,
        rows=tuple(rows),
        note="On the same test subjects in the same splits; all splits and scans of a person count "
        "as one subject. Interval: bootstrap over subjects. p (subjects): Wilcoxon signed rank. "
        "p (Holm): adjusted over all averages, and over all structures. p (trainings): t-test over "
        f"splits, corrected for overlapping training sets.{tolerance} {verdicts}",
    )


def _ranks_table(results: Results) -> Table | None:
    """Return the mean rank of each configuration over test subjects."""
    ranks, subjects, p = results.ranks
    if len(ranks) < 2:
        return None
    rows = sorted(((c.label, ranks[c.id]) for c in results.shown), key=lambda row: row[1])
    tested = "" if math.isnan(p) else f" Friedman's test of equal ranks: p = {p:.2g}."
    return Table(
        name="ranks",
        title="Mean rank by a subject's mean Dice",
        columns=(Column("configuration"), Column("mean rank", 1, 2)),
        rows=tuple(rows),
        note=f"1 is the best of {len(rows)}; over the test subjects of all: {subjects}.{tested}",
    )


def _volumes_table(results: Results) -> Table | None:
    """Return true and predicted volumes per structure, of the same cases.

    The truth has one column if it is the same for all configurations, else one for each.
    """
    if not {"volume", "true_volume"} <= results.study.scores.keys():
        return None
    measured = [c for c in results.shown if not np.isnan(_volumes(results, c, "volume")).all()]
    if not measured:
        return None
    truths = {f"{c.label} [mm3, truth]": _volumes(results, c, "true_volume") for c in measured}
    found = {f"{c.label} [mm3]": _volumes(results, c, "volume") for c in measured}
    first = next(iter(truths.values()))
    if all(np.allclose(first, truth, equal_nan=True) for truth in truths.values()):
        truths = {"truth [mm3]": first}
    columns = {**truths, **found}
    return Table(
        name="volumes",
        title="Mean volume per structure",
        columns=(Column("structure"), *(Column(heading, 1, 0) for heading in columns)),
        rows=tuple(
            (readable(structure), *(float(volumes[i]) for volumes in columns.values()))
            for i, structure in enumerate(results.study.structures)
        ),
        note=f"Compared at {rate_note(results)} {count_note(results, 'volume_error')}",
    )


def _volumes(results: Results, configuration: Configuration, score: str) -> np.ndarray:
    """Return the mean volume of each structure over people, then over runs."""
    runs = list(results.replicates["dice"][configuration.id].runs)
    volumes = by_person(results.study.scores[score][runs], results.study.people)
    return mean(mean(volumes, axis=1), axis=0)


def _parameters_table(results: Results) -> Table | None:
    """Return the numbers of trained parameters by configuration, level and kind."""
    rows: list[tuple[Value, ...]] = []
    kinds = kinds_in(_counts(results, c) for c in results.study.configurations)
    seen = set()
    for c in results.study.configurations:
        levels = results.parameters.get(c.id) or {}
        key = (c.kernel, repr(levels) if levels else c.parameters)
        if key in seen or c.parameters is None:
            continue
        seen.add(key)
        name = readable(c.kernel, KERNELS)
        for level, counts in levels.items():
            rows.append((name, level, *(counts.get(k, 0) for k in kinds), sum(counts.values())))
        rows.append((name, "all", *(_counts(results, c).get(k, 0) for k in kinds), c.parameters))
    columns = ("kernel", "level", *kinds, "total")
    return Table(
        name="parameters",
        title="Trained parameters by level and kind",
        columns=tuple(Column(name) for name in columns),
        rows=tuple(rows),
        note="pointwise: 1x1x1 convolutions; conventional: all larger ones.",
    )


def _counts(results: Results, configuration: Configuration) -> dict[str, int]:
    """Trained parameters of a configuration's network by kind, as its first run recorded them."""
    position = next(iter(configuration.runs.values()))[0]
    counts = results.study.runs[position].parameters
    return {kind: count for kind, count in counts.items() if kind != "total"}


def _cost_table(results: Results) -> Table:
    """Return time, memory and, where it was measured, energy of each configuration."""
    costs = [(c, cost) for c in results.study.configurations for cost in results.costs[c.id]]
    columns = [
        Column("configuration"),
        Column("parameters"),
        Column("time a step [s]", 1, 3),
        Column("peak memory [MiB]", 1 / _MEBIBYTE, 0),
        Column("time an epoch [s]", 1, 1),
        Column("epochs", 1, 0),
        Column("device"),
        Column("runs"),
    ]
    rows: list[tuple[Value, ...]] = [
        (
            c.label,
            c.parameters,
            cost.seconds_per_step,
            cost.peak_memory_bytes,
            cost.seconds_per_epoch,
            cost.epochs,
            cost.device or "not recorded",
            cost.runs,
        )
        for c, cost in costs
    ]
    if any(cost.energy_joules > 0 for _, cost in costs):
        columns.append(ENERGY)
        rows = [(*row, cost.energy_joules) for row, (_, cost) in zip(rows, costs, strict=True)]
    return Table(
        name="cost",
        title="Time and memory",
        columns=tuple(columns),
        rows=tuple(rows),
        note="Medians over runs, memory the highest. Compare rows of one device alone; runs that "
        f"shared a machine with others took longer than they need.{energy_note(results)}",
    )
