"""The tables of a report."""

import math
from collections.abc import Callable, Iterable

import numpy as np

from src.analysis.comparisons import VERDICTS
from src.analysis.configurations import Configuration
from src.analysis.names import AVERAGE, METRICS, Metric, readable, readable_rate
from src.analysis.paper import paper_dice
from src.analysis.results import Results
from src.analysis.summaries import PAPER_RATE, mean
from src.analysis.tables import Column, Spread, Table, Value, best_cells

KINDS = ("gabor", "conventional", "pointwise", "normalisation", "other")
MEBIBYTE = 2**20


def all_tables(results: Results) -> list[Table]:
    """Return every table that the runs have numbers for."""
    makers: list[Callable[[Results], Table | None]] = [
        paper_table,
        learning_rate_table,
        robustness_table,
        ranks_table,
        volumes_table,
        parameters_table,
        cost_table,
        coverage_table,
        runs_table,
        unfinished_table,
    ]
    tables = [
        *(structures_table(results, metric) for metric in results.metrics),
        *(comparisons_table(results, metric) for metric in results.comparisons),
        *(maker(results) for maker in makers),
    ]
    return [table for table in tables if table is not None and table.rows]


def shown_column(metric: Metric, heading: str = "") -> Column:
    """Return the column that shows a metric."""
    return Column(heading or f"{metric.title} [{metric.unit}]", metric.factor, metric.digits)


def structures_table(results: Results, metric: str) -> Table:
    """Return the paper's Table 1b of a metric: structures by configurations."""
    kind = METRICS[metric]
    columns = [Column("structure"), *(shown_column(kind, heading(c)) for c in results.shown)]
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
        best=best_cells(means, range(1, len(columns)), columns[-1], kind.better),
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
    """Return from how many subjects, splits and runs the numbers come."""
    counts = {c.label: results.replicates[metric][c.id].count for c in results.shown}
    if len(set(counts.values())) == 1:
        return f"From {next(iter(counts.values()))} each."
    return "From " + _listed(f"{count} ({label})" for label, count in counts.items())


def _listed(parts: Iterable[str]) -> str:
    return "; ".join(parts) + "."


def paper_table(results: Results) -> Table | None:
    """Return our Dice beside the paper's, of the kernels, losses and structures that both have."""
    paper, structures = paper_dice(), (*results.study.structures, AVERAGE)
    both = [
        c
        for c in results.shown
        if any((c.kernel, c.loss, s) in paper for s in results.study.structures)
    ]
    if not both:
        return None
    dice = shown_column(METRICS["dice"])
    columns = [Column("structure")]
    for c in both:
        columns += [Column(c.label, dice.factor, dice.digits), Column(f"{c.label}, paper", 100, 0)]
    rows = []
    for i, structure in enumerate(structures):
        row: list[Value] = [readable(structure)]
        for c in both:
            ours, theirs = results.summaries["dice"][c.id], paper.get((c.kernel, c.loss, structure))
            row.append(Spread(float(ours.mean[i]), float(ours.std[i])))
            row.append(None if theirs is None else Spread(*theirs))
        rows.append(tuple(row))
    return Table(
        name="paper",
        title="Test Dice [%] beside the paper's",
        columns=tuple(columns),
        rows=tuple(rows),
        note=f"{spread_note(results)} {count_note(results)} The paper's numbers are of 43 scans of "
        f"its own at learning rate {readable_rate(PAPER_RATE)}: other data, so not the same task.",
    )


def learning_rate_table(results: Results) -> Table:
    """Return the numbers of Fig. 3: mean Dice of every configuration at every learning rate."""
    rows = []
    for c in results.study.configurations:
        curve = results.curves[c.id]
        for i, rate in enumerate(curve.rates):
            there = curve.values[i][~np.isnan(curve.values[i])]
            spread = Spread(float(there.mean()), _std(there))
            rows.append((c.label, rate, spread, len(there), curve.runs[i]))
    columns = ("configuration", "learning rate", "test Dice [%]", "replicates", "runs")
    return Table(
        name="learning_rate",
        title="Mean test Dice against learning rate",
        columns=tuple(Column(c, 100, 1) if "[%]" in c else Column(c) for c in columns),
        rows=tuple(rows),
        note="Mean ± standard deviation over splits (over seeds, if there is one split).",
    )


def _std(values: np.ndarray) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


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
    )
    rows = [
        (
            c.label,
            Spread(found.area, found.area_std),
            found.width,
            "maybe" if found.open_end else "no",
            readable_rate(found.best),
            found.drop,
            _range(results.curves[c.id].rates),
        )
        for c in results.study.configurations
        if (found := results.robustness.get(c.id)) is not None
    ]
    comparable = len({row[-1] for row in rows}) <= 1
    areas = [[row[1].mean] for row in rows] if comparable else []
    best = {(i, 1) for i, (a,) in enumerate(areas) if a == max(areas)[0]} if len(areas) > 1 else {}
    return Table(
        name="robustness",
        title="Robustness to the learning rate",
        columns=columns,
        rows=tuple(rows),
        best=frozenset(best),
        note="Area under mean test Dice against log10 of the rate, over the width of the range (± "
        "standard deviation over the splits that have all rates); decades around the best rate in "
        "which the piecewise linear curve stays within one Dice point of it."
        + ("" if comparable else " The rates differ: these areas must not be compared."),
    )


def _range(rates: tuple[float, ...]) -> str:
    return f"{readable_rate(rates[0])} ... {readable_rate(rates[-1])} ({len(rates)})"


def comparisons_table(results: Results, metric: str) -> Table:
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
    return Table(
        name=f"comparisons_{metric}",
        title=f"Paired differences of test {kind.title}",
        columns=columns,
        rows=tuple(rows),
        note="On the same test subjects in the same splits. Interval: bootstrap over subjects. "
        "p (subjects): Wilcoxon signed rank, a subject's cases averaged. p (Holm): adjusted over "
        "all averages, and over all structures. p (trainings): t-test over splits, corrected for "
        f"overlapping training sets. {verdicts}",
    )


def ranks_table(results: Results) -> Table | None:
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
        note=f"1 is the best of {len(rows)}; over the {subjects} test subjects of all.{tested}",
    )


def volumes_table(results: Results) -> Table | None:
    """Return true and predicted volumes per structure."""
    scores, structures = results.study.scores, results.study.structures
    if not {"volume", "true_volume"} <= scores.keys():
        return None
    truth = mean(mean(scores["true_volume"], axis=0), axis=0)
    measured = [c for c in results.shown if not np.isnan(_volumes(results, c)).all()]
    found = [_volumes(results, c) for c in measured]
    rows: list[tuple[Value, ...]] = [
        (readable(s), float(truth[i]), *(float(volumes[i]) for volumes in found))
        for i, s in enumerate(structures)
    ]
    columns = ("structure", "truth [mm3]", *(f"{c.label} [mm3]" for c in measured))
    return Table(
        name="volumes",
        title="Mean volume per structure",
        columns=tuple(Column(c, 1, 0 if i else None) for i, c in enumerate(columns)),
        rows=tuple(rows),
        note=f"{rate_note(results).capitalize()} {count_note(results, 'volume_error')}",
    )


def _volumes(results: Results, configuration: Configuration) -> np.ndarray:
    """Return the mean predicted volume of each structure over subjects, then over runs."""
    runs = list(results.replicates["dice"][configuration.id].runs)
    return mean(mean(results.study.scores["volume"][runs], axis=1), axis=0)


def parameters_table(results: Results) -> Table | None:
    """Return the numbers of trained parameters by configuration, level and kind."""
    rows: list[tuple[Value, ...]] = []
    kinds = [k for k in KINDS if any(_count(results, c, k) for c in results.study.configurations)]
    seen = set()
    for c in results.study.configurations:
        levels = results.parameters.get(c.id) or {}
        key = (c.kernel, repr(levels) if levels else c.parameters)
        if key in seen or c.parameters is None:
            continue
        seen.add(key)
        for level, counts in levels.items():
            rows.append((c.kernel, level, *(counts.get(k, 0) for k in kinds), sum(counts.values())))
        rows.append((c.kernel, "all", *(_count(results, c, k) for k in kinds), c.parameters))
    columns = ("kernel", "level", *(kind for kind in kinds), "total")
    return Table(
        name="parameters",
        title="Trained parameters by level and kind",
        columns=tuple(Column(name) for name in columns),
        rows=tuple(rows),
        note="pointwise: 1x1x1 convolutions; conventional: all larger ones.",
    )


def _count(results: Results, configuration: Configuration, kind: str) -> int:
    position = next(iter(configuration.runs.values()))[0]
    return results.study.runs[position].parameters.get(kind, 0)


def cost_table(results: Results) -> Table:
    """Return time and memory of each configuration."""
    columns = (
        Column("configuration"),
        Column("parameters"),
        Column("time a step [s]", 1, 3),
        Column("peak memory [MiB]", 1 / MEBIBYTE, 0),
        Column("time an epoch [s]", 1, 1),
        Column("epochs", 1, 0),
        Column("device"),
        Column("runs"),
    )
    rows = [
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
        for c in results.study.configurations
        for cost in results.costs[c.id]
    ]
    return Table(
        name="cost",
        title="Time and memory",
        columns=columns,
        rows=tuple(rows),
        note="Medians over runs, memory the highest. Compare rows of one device alone; runs that "
        "shared a machine with others took longer than they need.",
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
    by_run = mean(mean(study.scores["dice"], axis=1), axis=1)
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
            len(run.scores["subject"].unique()),
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
    rows: list[tuple[Value, ...]] = [
        (run.folder.name, *run.epochs, run.validation_dice, run.failure or "begun")
        for run in study.unfinished
    ]
    rows += [(folder.name, 0, None, None, "not begun") for folder in study.missing]
    columns = (
        *(Column(name) for name in ("folder", "epochs trained", "epochs asked for")),
        Column("best validation Dice [%]", 100, 1),
        Column("state"),
    )
    return Table("unfinished", "Runs that are not finished", columns, tuple(rows))
