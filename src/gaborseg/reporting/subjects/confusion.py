"""Which structures are taken for which others, counted voxel by voxel."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gaborseg.machine import progress
from gaborseg.reporting.pictures import prediction, read_labels, read_truth
from gaborseg.reporting.tables import Column, Table, Value
from gaborseg.study import Configuration, Results, RunRecord, readable

log = logging.getLogger(__name__)

_BACKGROUND = "background"
_MOST_PAIRS = 30
"""Pairs that the table of the most frequent confusions lists of a configuration."""


@dataclass(frozen=True)
class Confusion:
    """How the voxels of each structure were labelled.

    Attributes:
        counts: Voxels by true and by predicted label, (T + 1, T + 1), background first; summed over
            all test cases.
        cases: Number of tested cases behind them.
    """

    counts: NDArray[np.int64]
    cases: int

    @property
    def shares(self) -> NDArray[np.float64]:
        """Share in [0, 1] of the voxels of each true label, (T + 1, T + 1); NaN where none is."""
        whole = self.counts.sum(axis=1, keepdims=True)
        return np.where(whole > 0, self.counts / np.maximum(whole, 1), np.nan)


def confusions(results: Results) -> dict[str, Confusion]:
    """Return the confusions of each shown configuration whose label maps are kept, by its id.

    All its runs at the chosen learning rate count, with all test subjects whose truth is there.
    """
    pairs = [
        (c.id, run, subject)
        for c in results.shown
        for run in results.runs_of(c)
        for subject in run.scores["subject"].unique()
        if prediction(run, subject).is_file()
    ]
    pairs.sort(key=_truth_of)  # so that a truth is read once, and no more than one is kept
    size = len(results.study.structures) + 1
    sums = {c.id: (np.zeros((size, size), np.int64), 0) for c in results.shown}
    last: tuple[tuple[str, str], NDArray[np.integer]] | None = None
    for pair in progress(pairs, "Comparing label maps"):
        key, run, subject = pair
        try:
            if last is None or last[0] != _truth_of(pair):
                last = _truth_of(pair), read_truth(run, subject)
            counts = confusion_counts(last[1], read_labels(prediction(run, subject)), size)
        except Exception as error:  # whatever a damaged file makes nibabel, zlib or numpy raise
            log.warning(f"note: {run.folder}: {subject} is in no matrix of confusions: {error}")
            continue
        sums[key] = sums[key][0] + counts, sums[key][1] + 1
    return {key: Confusion(*found) for key, found in sums.items() if found[1]}


def _truth_of(pair: tuple[str, RunRecord, str]) -> tuple[str, str]:
    """Return the data set and the subject of a configuration's run."""
    return str(pair[1].data.get("root", "")), pair[2]


def confusion_counts(
    truth: NDArray[np.integer], labels: NDArray[np.integer], size: int
) -> NDArray[np.int64]:
    """Return voxels by true and by predicted label, (size, size).

    Voxels whose true label is no structure of ours do not count.

    >>> confusion_counts(np.array([0, 1, 1, 255]), np.array([0, 1, 0, 1]), 2).tolist()
    [[1, 0], [1, 1]]

    Raises:
        ValueError: The maps have different shapes, or a prediction is no label.
    """
    if truth.shape != labels.shape:
        raise ValueError(f"the prediction must have the shape {truth.shape}, got {labels.shape}")
    if labels.size and not 0 <= labels.min() <= labels.max() < size:
        raise ValueError(f"predicted labels must be 0..{size - 1}, got {labels.max()}")
    known = (truth >= 0) & (truth < size)
    pairs = truth[known].astype(np.int64) * size + labels[known]
    return np.bincount(pairs, minlength=size * size).reshape(size, size)


def confusion_tables(results: Results, found: Mapping[str, Confusion]) -> Iterator[Table]:
    """Yield the most frequent confusions, and a matrix for each configuration."""
    labels = {c.id: c for c in results.shown}
    names = [_BACKGROUND, *(readable(name) for name in results.study.structures)]
    rows = [row for key, own in found.items() for row in _pairs(labels[key], own, names)]
    columns = ("configuration", "structure", "taken for")
    share = Column("share of its voxels [%]", 100, 1)
    if rows:
        yield Table(
            name="confusions",
            title="Most frequent confusions",
            columns=(*(Column(name) for name in columns), share, Column("voxels")),
            rows=tuple(rows),
            note="Voxels of a true structure that were labelled as another one, or as background; "
            f"of each configuration the {_MOST_PAIRS} with the largest shares.",
        )
    for key, own in found.items():
        yield Table(
            name=f"confusion_{key}",
            title=f"True structures (rows) and what they were labelled as: {labels[key].label}",
            columns=(
                Column("structure"),
                *(Column(name, 100, 1) for name in names),
                Column("voxels"),
            ),
            rows=tuple(_matrix(own, names)),
            note=f"Percent of the voxels of a true structure, over {_cases(own)}.",
        )


def _cases(found: Confusion) -> str:
    return f"{found.cases} tested case{'' if found.cases == 1 else 's'}"


def _pairs(
    configuration: Configuration, found: Confusion, names: Sequence[str]
) -> list[tuple[Value, ...]]:
    """Return the structures that were taken for others, the largest share first."""
    shares = np.nan_to_num(found.shares)
    np.fill_diagonal(shares, 0)
    shares[0] = 0  # all background is taken for something somewhere
    order = np.argsort(-shares, axis=None, kind="stable")[:_MOST_PAIRS]
    places = [divmod(int(place), len(names)) for place in order]
    return [
        (configuration.label, names[i], names[j], float(shares[i, j]), int(found.counts[i, j]))
        for i, j in places
        if shares[i, j] > 0
    ]


def _matrix(found: Confusion, names: Sequence[str]) -> Iterator[tuple[Value, ...]]:
    for i, name in enumerate(names):
        yield (name, *(float(share) for share in found.shares[i]), int(found.counts[i].sum()))
