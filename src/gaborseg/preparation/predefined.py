"""A split that a data set comes with, in its folders or a table, kept as a split file."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gaborseg.data import PARTS, Case
from gaborseg.machine import read_text, write_text
from gaborseg.scans import DataError

log = logging.getLogger(__name__)

SPLIT_COLUMN = "split"
"""Column of the part, of what is told of each subject."""
_SPLIT = "split.json"
_BEGINNINGS = {"tr": "train", "va": "validation", "te": "test", "ts": "test"}
_SHARES = {"validation": 1 / 7, "test": 0.3}
"""Of the training people, where a part has no folder; as in the random splits, 10 of 70 %."""


def part_of(folder: str) -> str:
    """The part of a split that a folder's name, or a cell of a table, stands for.

    Raises:
        DataError: None.

    >>> part_of("Training"), part_of("Ts")
    ('train', 'test')
    """
    try:
        return _BEGINNINGS[folder[:2].lower()]
    except KeyError:
        known = ", ".join(_BEGINNINGS)
        raise DataError(f"split must begin with one of {known}, got {folder}") from None


def write_split(
    output: Path, cases: Sequence[Case], columns: Mapping[str, Mapping[str, str]]
) -> Path | None:
    """Write the split that a data set's folders or tables tell; None if none, or too little.

    A part that is not told is drawn from the training people, always the same. A file that is
    there already stays as it is.
    """
    parts: dict[str, list[Case]] = {part: [] for part in PARTS}
    for case in cases:
        if part := columns.get(case.subject, {}).get(SPLIT_COLUMN):
            parts[part].append(case)
    if not any(parts.values()):
        return None
    chosen = {case.subject for group in parts.values() for case in group}
    if silent := [case.subject for case in cases if case.subject not in chosen]:
        log.warning(f"note: {len(silent)} scans, {silent[0]} first, are in no part of the split")
    for part, share in _SHARES.items():
        if not parts[part]:
            parts["train"], parts[part] = _drawn(parts["train"], share)
            log.info(f"Nothing is for {part}: {len(parts[part])} training scans are drawn for it")
    if not all(parts.values()):
        log.warning("note: there are too few people for a split file")
        return None
    path = output / _SPLIT
    ids = {part: [case.subject for case in group] for part, group in parts.items()}
    text = json.dumps(ids, indent=2) + "\n"
    if not path.exists():
        write_text(path, text)
    elif read_text(path) != text:
        log.warning(
            f"note: {path} is not the split that is told now; delete it to have it made again"
        )
    return path


def _drawn(cases: Sequence[Case], share: float) -> tuple[list[Case], list[Case]]:
    """The cases of most people, and those of a share of them."""
    people = list(dict.fromkeys(case.participant for case in cases))
    count = max(1, round(share * len(people)))
    out = {people[place] for place in np.random.default_rng(0).permutation(len(people))[:count]}
    return (
        [case for case in cases if case.participant not in out],
        [case for case in cases if case.participant in out],
    )
