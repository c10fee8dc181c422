"""Scores by what the data set tells of its people: Dice by age, by sex, by site."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from gaborseg.reporting.subjects.participants import participant_columns
from gaborseg.reporting.tables import Column, Spread, Table, Value
from gaborseg.study import METRICS, Results, mean, std

Array = NDArray[np.float64]

_METRIC = "dice"
_MOST_VALUES = 6
"""Values that are groups of their own. More numbers make quartiles."""
_MOST_WORDS = 20
"""Words that are groups of their own, if two people have each on average; more make none."""
_FEWEST_PEOPLE = 4
"""People who can be told apart by chance or not."""


def group_tables(results: Results) -> list[Table]:
    """Return a table of mean test Dice for each column of ``participants.tsv`` that groups people.

    The mean over all structures is taken; people are the units: splits, seeds and several scans of
    a person are averaged first. A column of numbers with many values is cut into quartiles.
    """
    study = results.study
    people = study.people
    scores = {
        c.label: _by_person(people, mean(mean(results.replicates[_METRIC][c.id].cases, 0), 1))
        for c in results.shown
    }
    tables = [
        _table(column, _values_by_person(people, column["values"]), scores)
        for column in participant_columns(study.runs, study.subjects)
    ]
    found = [table for table in tables if table is not None]
    return [*_with_unique_names(found)]


def _with_unique_names(tables: Sequence[Table]) -> Iterator[Table]:
    """Yield tables whose names differ: columns in another script have no letters for them."""
    seen = Counter[str]()
    for table in tables:
        seen[table.name] += 1
        count = seen[table.name]
        yield replace(table, name=f"{table.name}_{count}") if count > 1 else table


def _by_person(people: Sequence[str], values: Array) -> dict[str, float]:
    """Return the mean of each person's values, of those who have any."""
    names = dict.fromkeys(people)
    owners = np.array(people)
    means = {name: float(mean(values[owners == name], 0)) for name in names}
    return {name: value for name, value in means.items() if not np.isnan(value)}


def _values_by_person(people: Sequence[str], values: Sequence[Any]) -> dict[str, float | str]:
    """Return what is told of each person: the mean of numbers, the first of texts."""
    told: dict[str, list[Any]] = {}
    for person, value in zip(people, values, strict=True):
        if value is not None:
            told.setdefault(person, []).append(value)
    return {
        person: own[0] if isinstance(own[0], str) else float(np.mean(own))
        for person, own in told.items()
    }


def _table(
    column: Mapping[str, Any],
    values: Mapping[str, float | str],
    scores: Mapping[str, Mapping[str, float]],
) -> Table | None:
    """Return the table of a column, None if it does not group the people who were tested."""
    tested = {person for found in scores.values() for person in found}
    values = {person: value for person, value in values.items() if person in tested}
    groups = _quartiles(values) if column["number"] else _alike(values)
    if len(groups) < 2:
        return None
    name, kind = str(column["name"]), METRICS[_METRIC]
    told = _test_note(name, bool(column["number"]), values, groups, scores)
    shown = [Column(label, kind.factor, kind.digits) for label in scores]
    rows: list[tuple[Value, ...]] = [
        (label, len(group), *(_spread(found, group) for found in scores.values()))
        for label, group in groups.items()
    ]
    return Table(
        name=f"{_METRIC}_by_{re.sub(r'[^A-Za-z0-9]+', '_', name)[:40]}",
        title=f"Test {kind.title} [{kind.unit}] by {name}",
        columns=(Column(name), Column("people"), *shown),
        rows=tuple(rows),
        note=f"Mean ± standard deviation over people, of means over structures. {told}".strip(),
    )


def _alike(values: Mapping[str, float | str]) -> dict[str, list[str]]:
    """Return the people of each value, in the order of the values; none if there are too many."""
    kinds = sorted(set(values.values()))
    if len(kinds) > max(_MOST_VALUES, min(_MOST_WORDS, len(values) // 2)):
        return {}
    return {
        kind if isinstance(kind, str) else f"{kind:g}": [p for p, v in values.items() if v == kind]
        for kind in kinds
    }


def _quartiles(values: Mapping[str, float | str]) -> dict[str, list[str]]:
    """Return people in groups of as equal size as equal values allow; of few values, by value."""
    if len(set(values.values())) <= _MOST_VALUES:
        return _alike(values)
    numbers = np.array([float(value) for value in values.values()])
    cuts = np.quantile(numbers, (0.25, 0.5, 0.75))
    places = np.searchsorted(cuts, numbers, side="left")
    groups: dict[str, list[str]] = {}
    for place in sorted(set(places.tolist())):
        own = numbers[places == place]
        people = [person for person, there in zip(values, places == place, strict=True) if there]
        groups[f"{own.min():g} to {own.max():g}"] = people
    return groups


def _spread(found: Mapping[str, float], group: Sequence[str]) -> Spread:
    own = np.array([found[person] for person in group if person in found])
    return Spread(float(mean(own, 0)), float(std(own[:, None])[0]) if own.size else float("nan"))


def _test_note(
    name: str,
    is_number: bool,
    values: Mapping[str, float | str],
    groups: Mapping[str, Sequence[str]],
    scores: Mapping[str, Mapping[str, float]],
) -> str:
    """Return in words how the scores of each configuration depend on a column."""
    tested = {
        label: {person: score for person, score in found.items() if person in values}
        for label, found in scores.items()
    }
    told = [
        f"{label} {_correlation(values, own) if is_number else _difference(groups, own)}"
        for label, own in tested.items()
        if len(own) >= _FEWEST_PEOPLE and len(set(own.values())) > 1
    ]
    test = "Spearman's rank correlation with" if is_number else "Kruskal-Wallis test of"
    return f"{test} {name}: {'; '.join(told)}." if told else ""


def _correlation(values: Mapping[str, float | str], found: Mapping[str, float]) -> str:
    if len({values[person] for person in found}) < 2:
        return "has one value"
    test = stats.spearmanr([values[person] for person in found], [*found.values()])
    return f"rho = {test.statistic:.2f}, p = {test.pvalue:.2g}"


def _difference(groups: Mapping[str, Sequence[str]], found: Mapping[str, float]) -> str:
    samples = [[found[person] for person in group if person in found] for group in groups.values()]
    there = [sample for sample in samples if sample]
    return f"p = {stats.kruskal(*there).pvalue:.2g}" if len(there) > 1 else "has one group"
