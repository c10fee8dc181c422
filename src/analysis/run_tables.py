"""The tables of a report that list its runs."""

from src.analysis.names import readable_rate
from src.analysis.results import Results
from src.analysis.summaries import mean
from src.analysis.tables import Column, Table, Value


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
