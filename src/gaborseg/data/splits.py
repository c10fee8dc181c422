"""Which subjects are trained on, which choose the epoch, and which are tested."""

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, combinations, pairwise
from pathlib import Path

import numpy as np

from gaborseg.machine import load_json, read_text
from gaborseg.scans import DataError

log = logging.getLogger(__name__)

_SPLIT_SEED = 0
"""Splits do not follow the seed of a run: all runs with one index share their subjects."""
_NUM_SPLITS = 5
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Disjoint groups of subject ids, in the data set's order."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def part(self, name: str) -> tuple[str, ...]:
        """The subjects of ``train``, ``validation`` or ``test``.

        Raises:
            ValueError: There is no such part.
        """
        if name not in PARTS:
            raise ValueError(f"part must be one of {', '.join(PARTS)}, got {name!r}")
        return asdict(self)[name]


def shuffled_split(
    subjects: Sequence[str],
    index: int,
    seed: int = _SPLIT_SEED,
    fractions: tuple[float, float, float] = (0.6, 0.1, 0.3),
    participants: Sequence[str] | None = None,
    empty: Collection[str] = (),
) -> Split:
    """Shuffle the people and cut them: 43 give 26 for training, 4 for validation, 13 for test.

    People none of whose scans has a structure, such as healthy controls, are cut likewise by
    themselves, so that each part has others too.

    Args:
        subjects: Ids of the scans, all different.
        index: Which of the shuffles, 0..4; each is a shuffle of its own, test sets may overlap.
        seed: Seed of all five shuffles.
        fractions: Share of people in each part; what rounding leaves over goes to the test.
        participants: Whose scan each subject is; a person of its own if not given. Scans of one
            person stay together.
        empty: Scans without any structure.

    Raises:
        DataError: There is no such index, or too few people for one in each part.

    >>> shuffled_split(["a", "b", "c", "d"], index=0)
    Split(train=('a', 'c'), validation=('b',), test=('d',))
    """
    if type(index) is not int or index not in range(_NUM_SPLITS):
        raise DataError(f"split must be 0..{_NUM_SPLITS - 1}, got {index}")
    owners = subjects if participants is None else participants
    scans = list(zip(subjects, owners, strict=True))
    whole = dict.fromkeys(owner for scan, owner in scans if scan not in empty)
    controls = [owner for owner in dict.fromkeys(owners) if owner not in whole]
    draws = np.random.default_rng((seed, index))
    parts = _cut(list(whole), draws, fractions, least=1)
    if not all(parts):
        raise DataError(
            f"a split needs a subject in each of its three parts, got {len(whole)} in all"
        )
    groups = [a | b for a, b in zip(parts, _cut(controls, draws, fractions), strict=True)]
    return Split(*(tuple(scan for scan, owner in scans if owner in group) for group in groups))


def _cut(
    people: Sequence[str],
    draws: np.random.Generator,
    fractions: tuple[float, float, float],
    least: int = 0,
) -> list[set[str]]:
    """Shuffle people, and cut them into three parts; the first two have the least at any rate."""
    total = len(people)
    num_train, num_validation = (max(least, int(share * total + 0.5)) for share in fractions[:2])
    order = draws.permutation(total).tolist()
    cuts = (0, num_train, num_train + num_validation, max(total, num_train + num_validation))
    return [{people[place] for place in order[start:stop]} for start, stop in pairwise(cuts)]


def read_split(
    path: str | Path, subjects: Sequence[str], participants: Sequence[str] | None = None
) -> Split:
    """A split of the user's own: a JSON file with the ids of train, validation and test.

    An id is that of a subject, or of a participant and stands for all of their scans.

    Raises:
        DataError: The file cannot be read, a part is missing or empty, or a subject is unknown or
            listed twice.
    """
    try:
        content = load_json(read_text(Path(path).expanduser()))
        if not all(isinstance(content[part], list) for part in PARTS):
            raise ValueError("a part is no list")
        names = {part: [str(name) for name in content[part]] for part in PARTS}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{path} must be JSON with a list of subjects for each of {', '.join(PARTS)}: {error!r}"
        ) from error
    owners = subjects if participants is None else participants
    scans = list(zip(subjects, owners, strict=True))
    groups = {part: expand(listed, scans) for part, listed in names.items()}
    known = set(subjects)
    for subject, count in Counter(chain.from_iterable(groups.values())).items():
        if subject not in known:
            raise DataError(f"{path}: subject {subject!r} is not in the data set")
        if count > 1:
            raise DataError(f"{path}: subject {subject!r} must be listed once")
    for part, group in groups.items():
        if not group:
            raise DataError(f"{path}: {part} must hold at least one subject, got none")
    split = Split(**{part: tuple(s for s in subjects if s in groups[part]) for part in PARTS})
    _warn_of_leaks(split, dict(scans))
    _warn_of_left_over(split, dict(scans))
    return split


def expand(names: Sequence[str], scans: Sequence[tuple[str, str]]) -> list[str]:
    """Subjects as they are, and participants as all of their subjects."""
    subjects = {subject for subject, _ in scans}
    return [
        subject
        for name in names
        for subject in (
            [name] if name in subjects else [s for s, o in scans if o == name] or [name]
        )
    ]


def _warn_of_left_over(split: Split, owners: dict[str, str]) -> None:
    """Log which scans of people in the split are in no part: their people may be named alike."""
    used = {subject for part in PARTS for subject in split.part(part)}
    people = {owners[subject] for subject in used}
    if left := [s for s, owner in owners.items() if s not in used and owner in people]:
        log.warning(
            "%d other scans of people in the split, %s first, are in no part and not used: a name "
            "that is also a scan's stands for that scan alone", len(left), left[0],
        )  # fmt: skip


def _warn_of_leaks(split: Split, owners: dict[str, str]) -> None:
    """Log who is both trained on and tested: the user may want that, but must know."""
    people = {part: {owners[subject] for subject in split.part(part)} for part in PARTS}
    for first, second in combinations(PARTS, 2):
        if both := sorted(people[first] & people[second]):
            log.warning(
                "%d participants, %s first, have scans in both %s and %s: scores will be too good",
                len(both), both[0], first, second,
            )  # fmt: skip
