"""How far volumes of one person differ from scan to scan: the within-person variation."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gaborseg.reporting.tables import Column, Table
from gaborseg.study import Results, mean, readable

Array = NDArray[np.float64]

_VOLUMES = ("volume", "true_volume")
_NOTE = (
    "Of {count} people who were tested on two scans or more: root mean square of each one's "
    "standard deviation over scans, relative to the mean. Two scans of a person differ by more "
    "than 2.77 times this in one of twenty cases. The truth varies too: with the person, the "
    "scanner, and whoever drew it."
)


def repeatability_tables(results: Results) -> list[Table]:
    """Return the table of within-person variation; none if nobody was tested on two scans.

    It has the `within_person_variation` of each structure: that of the volumes that each
    configuration predicts, and of the true ones of the same scans, in one column if these are the
    same for all.
    """
    study = results.study
    if not set(_VOLUMES) <= study.scores.keys():
        return []
    people = study.people
    count = _tested_twice(study.scores["volume"], people)
    if not count:
        return []
    runs = {c.label: [*results.replicates["dice"][c.id].runs] for c in results.shown}

    def variations(score: str) -> list[Array]:
        volumes = study.scores[score]
        return [within_person_variation(volumes[own], people) for own in runs.values()]

    truths = variations("true_volume")
    if all(np.allclose(truths[0], truth, equal_nan=True) for truth in truths):
        columns = {"truth [%]": truths[0]}
    else:
        columns = dict(zip((f"{label} [%, truth]" for label in runs), truths, strict=True))
    found = (f"{label} [%]" for label in runs)
    columns |= dict(zip(found, variations("volume"), strict=True))
    return [
        Table(
            name="repeatability",
            title="Within-person variation of volumes",
            columns=(Column("structure"), *(Column(heading, 100, 1) for heading in columns)),
            rows=tuple(
                (readable(structure), *(float(column[i]) for column in columns.values()))
                for i, structure in enumerate(study.structures)
            ),
            note=_NOTE.format(count=count),
        )
    ]


def within_person_variation(volumes: Array, people: Sequence[str]) -> Array:
    """Return the within-person coefficient of variation of each structure (T), as a share.

    The root of the mean of variance / mean^2 over people with two volumes or more, each the mean
    over runs. The variance has n - 1 in its denominator: for two volumes a and b the ratio is
    2 (a - b)^2 / (a + b)^2.

    Args:
        volumes: By run, scan and structure (R, S, T); NaN where a run was not tested on a scan.
        people: Whose scan each is (S).

    Returns:
        NaN for a structure of which nobody has two volumes, or none but zeros.

    Example:
        >>> import numpy as np
        >>> volumes = np.array([[[9.0], [11.0], [5.0]]])
        >>> within_person_variation(volumes, ["a", "a", "b"]).round(4)
        array([0.1414])
    """
    squares = np.array([_squares(of_run, people) for of_run in volumes])
    return np.sqrt(mean(mean(squares, axis=0), axis=0))


def _squares(volumes: Array, people: Sequence[str]) -> Array:
    """Return variance / mean^2 by person and structure (P, T), NaN without two volumes."""
    owners = np.array(people)
    squares = np.full((len({*people}), volumes.shape[1]), np.nan)
    for row, person in enumerate(dict.fromkeys(people)):
        own = volumes[owners == person]
        known = ((~np.isnan(own)).sum(axis=0) > 1) & (np.nansum(own, axis=0) > 0)
        there = own[:, known]
        squares[row, known] = np.nanvar(there, axis=0, ddof=1) / np.nanmean(there, axis=0) ** 2
    return squares


def _tested_twice(volumes: Array, people: Sequence[str]) -> int:
    """Return how many people have two scans that one run was tested on; volumes (R, S, T)."""
    tested: NDArray[np.bool_] = ~np.all(np.isnan(volumes), axis=2)
    owners = np.array(people)
    return sum(bool((tested[:, owners == one].sum(axis=1) > 1).any()) for one in {*people})
