"""The numbers that the page shows, as plain values for JSON."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from gaborseg.reporting.chart_style import kernels_of, styles
from gaborseg.reporting.page.curves import training_curves
from gaborseg.reporting.page.subject_data import subject_data
from gaborseg.reporting.report_tables import count_note, rate_note, spread_note
from gaborseg.reporting.run_tables import edge_notes
from gaborseg.reporting.subjects.confusion import Confusion
from gaborseg.reporting.tables import Column, Spread, Table, Value, written
from gaborseg.study import (
    ABBREVIATIONS,
    AVERAGE,
    KERNELS,
    METRICS,
    VERDICTS,
    Comparison,
    Configuration,
    Replicates,
    Results,
    findings,
    paper_sizes,
    published,
    readable,
    readable_rate,
    replicates_of,
)


def page_data(
    results: Results, tables: Sequence[Table], confused: Mapping[str, Confusion] | None = None
) -> dict[str, Any]:
    """Return everything that the page's scripts need; numbers rounded to six digits."""
    study = results.study
    data = {
        "structures": [
            {"id": s, "name": readable(s), "size": paper_sizes().get(s)} for s in study.structures
        ],
        "kernels": [
            {"id": kernel, "name": readable(kernel, KERNELS)}
            for kernel in kernels_of(study.configurations)
        ],
        "metrics": [
            vars(METRICS[name]) | {"better": results.better(name)} for name in results.metrics
        ],
        "configurations": _configurations(results),
        "scores": {
            metric: {key: _replicates(found) for key, found in by_id.items()}
            for metric, by_id in results.replicates.items()
        },
        "subjects": subject_data(results),
        "confusion": {
            key: {"counts": found.counts, "cases": found.cases}
            for key, found in (confused or {}).items()
        },
        "paper": _paper(results),
        "rates": [{"value": rate, "name": readable_rate(rate)} for rate in study.rates],
        "curves": _curves(results),
        "fields": [field.name for field in fields(Comparison)],
        "comparisons": {
            metric: [_comparison(results, row) for row in rows]
            for metric, rows in results.comparisons.items()
        },
        "verdicts": [{"id": key, "meaning": meaning} for key, meaning in VERDICTS.items()],
        **training_curves(results),
        "costs": [_cost(results, c) for c in results.shown],
        "tables": {table.name: _table_data(table) for table in tables},
        "findings": [vars(finding) for finding in findings(results)],
        "notes": {
            "spread": spread_note(results),
            "rate": rate_note(results),
            "edge": " ".join(edge_notes(results)),
            "words": _words(results),
            "counts": {metric: count_note(results, metric) for metric in results.metrics},
        },
    }
    return _plain(data)


def _words(results: Results) -> str:
    """Return what the short names of losses and scores on the page stand for."""
    names = [c.label for c in results.study.configurations]
    there = " ".join([*names, *(METRICS[name].title for name in results.metrics)])
    return "; ".join(
        f"{short}: {whole}"
        for short, whole in ABBREVIATIONS.items()
        if re.search(rf"(?<!\w){short}(?!\w)", there)
    )


def _configurations(results: Results) -> list[dict[str, Any]]:
    look = styles(results.study.configurations)
    return [
        {
            "id": c.id,
            "label": c.label,
            "kernel": c.kernel,
            "parameters": c.parameters,
            "shown": c.id in results.rates,
            "rate": readable_rate(results.rates[c.id]) if c.id in results.rates else None,
            "runs": sum(map(len, c.runs.values())),
            "color": look[c.id].color,
            "mark": look[c.id].kernel_mark,
            "line": look[c.id].line,
        }
        for c in results.study.configurations
    ]


def _replicates(found: Replicates) -> dict[str, Any]:
    return {"count": found.count, "names": found.names, "values": found.by_structure}


def _paper(results: Results) -> dict[str, list[Any]]:
    """Return the paper's mean and std of each structure and of the average, where it has them."""
    structures = results.study.structures
    found = {c.id: published(c.kernel, c.loss, structures) for c in results.shown}
    return {key: values for key, values in found.items() if any(values)}


def _curves(results: Results) -> dict[str, Any]:
    """Return the scores of every configuration with several rates: (rates, replicates, T)."""
    curves = {}
    for c in results.study.configurations:
        rates = results.curves[c.id].rates
        if len(rates) > 1:
            kind = results.curves[c.id].kind
            found = [replicates_of(results.study, c, rate, kind=kind) for rate in rates]
            curves[c.id] = {
                "rates": rates,
                "counts": [replicates.count for replicates in found],
                "values": [replicates.by_structure for replicates in found],
            }
    return curves


def _comparison(results: Results, row: Comparison) -> list[Any]:
    """Return the fields of a comparison; names as positions, -1 for the average."""
    ids = [c.id for c in results.study.configurations]
    structures = list(results.study.structures)
    places = {
        "first": ids.index(row.first),
        "second": ids.index(row.second),
        "structure": -1 if row.structure == AVERAGE else structures.index(row.structure),
        "verdict": list(VERDICTS).index(row.verdict),
    }
    return list((vars(row) | places).values())


def _cost(results: Results, configuration: Configuration) -> dict[str, Any]:
    return {
        "configuration": configuration.id,
        "parameters": configuration.parameters,
        "seconds": results.seconds_per_step(configuration),
        "device": results.timed_on,
    }


def _table_data(table: Table) -> dict[str, Any]:
    """Return a table as the page shows it: of every cell its text, and its value for sorting."""
    return {
        "title": table.title,
        "note": table.note,
        "columns": [column.heading for column in table.columns],
        "rows": [
            [
                {"text": written(value, c), "key": _key(value, c), "best": (i, j) in table.best}
                for j, (value, c) in enumerate(zip(row, table.columns, strict=True))
            ]
            for i, row in enumerate(table.rows)
        ],
    }


def _key(value: Value, column: Column) -> str | float | None:
    number = value.mean if isinstance(value, Spread) else value
    return number * column.factor if isinstance(number, float) else number


def _plain(value: Any) -> Any:
    """Return nested values as JSON has them: lists, numbers of six digits, None for NaN."""
    match value:
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case np.ndarray() | np.generic():
            return _plain(value.tolist())
        case bool() | int() | str() | None:
            return value
        case float():
            return float(f"{value:.6g}") if math.isfinite(value) else None
    raise TypeError(f"the page cannot show a {type(value).__name__}")
