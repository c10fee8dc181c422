"""What the page's viewer shows: scan, truth and predictions of some test subjects."""

import logging
from collections.abc import Iterator, Mapping
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
        choice: ``"median"``: the subject of the pictures; ``"worst"``: that one and the one with
            the lowest mean Dice over configurations; ``"all"``: every subject; ``"none"``.
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
    yield median, "the subject of the pictures" if subject else "median"
    if choice == _MEDIAN:
        return
    names = sorted({name for run in results.study.runs for name in run.scores["subject"]})
    found = [shown for name in names if (shown := _predicted(results, name)) is not None]
    others = [shown for shown in sorted(found, key=mean_dice) if shown.subject != median.subject]
    for position, shown in enumerate(others if choice == _ALL else others[:1]):
        lowest = position == 0 and mean_dice(shown) < mean_dice(median)
        yield shown, "worst" if lowest else ""


def _predicted(results: Results, name: str) -> Shown | None:
    try:
        return choose_subject(results, name)
    except ValueError:  # no run keeps its prediction
        return None


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
    facts = [readable_split(shown.split), what, f"mean Dice {100 * mean_dice(shown):.1f} %"]
    return case | {"title": f"{shown.subject} ({', '.join(filter(None, facts))})"}


def told_size(book: Mapping[str, Any]) -> str:
    """Return how many subjects are in the viewer, and what they take on the page, in words."""
    texts = [(case["scan"], *(own["runs"] for own in case["maps"])) for case in book["cases"]]
    count, size = len(texts), sum(len(text) for own in texts for text in own)
    return f"{count} subject{'' if count == 1 else 's'}, {size / 1e3:,.0f} kB"
