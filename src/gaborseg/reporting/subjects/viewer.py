"""What the page's viewer shows: scan, truth and predictions of some test subjects."""

import contextlib
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gaborseg.machine import progress
from gaborseg.pictures import viewer_book, viewer_case
from gaborseg.reporting.pictures import (
    Shown,
    choose_subject,
    mean_dice,
    prediction,
    read_case,
    read_labels,
    subject_dice,
)
from gaborseg.study import Results, readable_split

log = logging.getLogger(__name__)

_NONE, _MEDIAN, _WORST, _ALL = "none", "median", "worst", "all"
_CHOICES = (_NONE, _MEDIAN, _WORST, _ALL)
_TRUTH = "truth"
_MOST_WORST = 4
"""Worst subjects beside that of the pictures, unless all are wanted."""
_MOST_NAMED = 2
"""Configurations that are named of those whose worst subject one is."""


def check_viewer(choice: object) -> None:
    """Check which subjects are wanted.

    Raises:
        ValueError: If the choice is unknown.
    """
    if choice not in _CHOICES:
        raise ValueError(f"viewer must be one of {', '.join(_CHOICES)}, got {choice}")


def viewer_subjects(
    results: Results, choice: str, subject: str | None = None
) -> dict[str, Any] | None:
    """Return what the viewer shows, None if nothing was asked for or no run keeps predictions.

    Args:
        results: The runs.
        choice: ``"median"``: the subject of the pictures; ``"worst"``: that one, and of each of the
            best configurations the subject with its lowest Dice; ``"all"``: every subject;
            ``"none"``.
        subject: Subject of the pictures, in place of the median one.
    """
    wanted = [] if choice == _NONE else list(_chosen(results, choice, subject))
    cases = [_case(*pair, results) for pair in progress(wanted, "Packing subjects")]
    there = [case for case in cases if case is not None]
    return viewer_book(results.study.structures, there) if there else None


def _chosen(results: Results, choice: str, subject: str | None) -> Iterator[tuple[Shown, str]]:
    """Yield subjects and what they are, that of the pictures first, then the worst first."""
    median = choose_subject(results, subject)
    if median is None:
        return
    every = [] if choice == _MEDIAN else list(_all_predicted(results))
    worst = _worst_of(every, results)
    leading = list(dict.fromkeys(worst.values()))[:_MOST_WORST]
    first = "the subject of the pictures" if subject else "median"
    yield median, ", ".join(filter(None, (first, _whose_worst(median.subject, worst))))
    for shown in sorted(every, key=mean_dice):
        wanted = choice == _ALL or shown.subject in leading
        if wanted and shown.subject != median.subject:
            yield shown, _whose_worst(shown.subject, worst)


def _all_predicted(results: Results) -> Iterator[Shown]:
    """Yield every subject that some run keeps a prediction of."""
    names = sorted({name for run in results.study.runs for name in run.scores["subject"]})
    for name in names:
        with contextlib.suppress(ValueError):  # no run keeps its prediction
            if (shown := choose_subject(results, name)) is not None:
                yield shown


def _worst_of(every: Sequence[Shown], results: Results) -> dict[str, str]:
    """Return each configuration's subject of the lowest Dice, the best configuration first."""
    means = {c.label: float(results.summaries["dice"][c.id].mean[-1]) for c in results.shown}
    order = sorted(means, key=lambda label: -np.nan_to_num(means[label], nan=-1))
    own = {label: [shown for shown in every if label in shown.runs] for label in order}
    return {
        label: min(found, key=lambda shown: _dice_of(shown, label)).subject
        for label, found in own.items()
        if found
    }


def _dice_of(shown: Shown, label: str) -> float:
    """Return a subject's mean Dice by one configuration; infinity where it has none."""
    dice = subject_dice(shown.runs[label], shown.subject)
    return math.inf if math.isnan(dice) else dice


def _whose_worst(subject: str, worst: Mapping[str, str]) -> str:
    """Return whose worst subject one is, in words; empty if nobody's."""
    labels = [label for label, found in worst.items() if found == subject]
    if not labels:
        return ""
    if len(labels) == len(worst) > 1:
        return "worst of all configurations"
    more = f" and {len(labels) - _MOST_NAMED} more" if len(labels) > _MOST_NAMED else ""
    return f"worst of {', '.join(labels[:_MOST_NAMED])}{more}"


def _case(shown: Shown, what: str, results: Results) -> dict[str, Any] | None:
    """Return a subject for the viewer, None if its data are not there."""
    first = next(iter(shown.runs.values()))
    maps = {}
    try:
        image, truth, affine = read_case(first, shown.subject)
        maps[_TRUTH] = np.where(truth <= len(results.study.structures), truth, 0)
        for label, run in shown.runs.items():
            maps[label] = read_labels(prediction(run, shown.subject))
        dice = {label: subject_dice(run, shown.subject) for label, run in shown.runs.items()}
        case = viewer_case(
            shown.subject,
            image,
            maps,
            affine,
            truth=_TRUTH,
            notes={label: f"Dice {100 * value:.1f} %" for label, value in dice.items()},
        )
    except Exception as error:  # whatever a damaged file makes nibabel, zlib or numpy raise
        log.warning(f"note: {first.folder}: {shown.subject} is not in the viewer: {error}")
        return None
    over = f" over {len(shown.runs)} configurations" if len(shown.runs) > 1 else ""
    mean = f"mean Dice {100 * mean_dice(shown):.1f} %{over}"
    facts = filter(None, (readable_split(shown.split), what, mean))
    return case | {"title": f"{shown.subject} ({', '.join(facts)})"}


def told_size(book: Mapping[str, Any]) -> str:
    """Return how many subjects are in the viewer, and what they take on the page, in words."""
    texts = [(case["scan"], *(own["runs"] for own in case["maps"])) for case in book["cases"]]
    count, size = len(texts), sum(len(text) for own in texts for text in own)
    return f"{count} subject{'' if count == 1 else 's'}, {size / 1e3:,.0f} kB"
