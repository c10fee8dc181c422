"""The work of `evaluate`: score what is configured, show the means, write everything down."""

import contextlib
import json
import logging
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from gaborseg.data import DESCRIPTION
from gaborseg.evaluation.label_maps import find_pairs, score_pairs, tolerance_of
from gaborseg.evaluation.numbering import numbering, unlabelled_in
from gaborseg.evaluation.runs import PARTS, Result, score_run
from gaborseg.interface import mistakes_as_user_errors, show
from gaborseg.machine import software_versions, write_atomically
from gaborseg.runs import RunFile, Score, locked, overall_means, scores_table, write_scores

log = logging.getLogger(__name__)


_CAPTION = (
    "means over the subjects that have a structure; NSD at {tolerance:.3g} mm; what only the "
    "prediction or only the truth has gets Dice 0, NSD 0 and the image's diagonal as HD95"
)


def evaluate(settings: SimpleNamespace) -> list[Score]:
    """Score what is configured, show the means and write everything down.

    Returns:
        The scores of every subject and structure.

    Raises:
        UserError: What is asked for is incomplete or cannot be read, or results are there already.
    """
    with contextlib.ExitStack() as held:
        with mistakes_as_user_errors():
            _check(settings)
            output = Path(settings.output).expanduser()
            held.enter_context(locked(output))
            if (output / RunFile.SCORES).exists():
                raise FileExistsError(
                    f"{output} holds results; choose another folder with output=..."
                )
        result = score_run(settings, output) if settings.run else _score_folders(settings, output)
        write(output, result)
    title = " against ".join(result.inputs.values())
    show(scores_table(result.rows, title, _CAPTION.format(tolerance=result.tolerance)))
    log.info(f"Mean Dice {overall_means(result.rows).dice:.4f}. Written to {output}")
    return result.rows


def _check(settings: SimpleNamespace) -> None:
    """Check that the settings ask for one thing.

    Raises:
        ValueError: They do not.
    """
    folders = (settings.predictions, settings.truth)
    if bool(settings.run) == any(folders) or any(folders) != all(folders):
        raise ValueError("either run=DIR must be given, or both predictions=DIR and truth=DIR")
    if settings.part not in (None, *PARTS):
        raise ValueError(f"part must be {', '.join(PARTS)}, got {settings.part}")
    tolerance = 0 if settings.tolerance is None else settings.tolerance
    if not isinstance(tolerance, int | float) or not 0 <= tolerance < math.inf:
        raise ValueError(f"tolerance must be a number of 0 mm or more, got {tolerance}")
    if settings.part and (settings.data or not settings.run):
        raise ValueError("part must only be given with run= and the run's own data")
    for name in ("labels", "label_pattern"):
        if getattr(settings, name) is not None and settings.run:
            raise ValueError(f"{name} must only be given with predictions= and truth=")
    if settings.ignore is not None and (settings.run or settings.labels is not None):
        raise ValueError(
            "ignore must only be given with predictions= and truth=, and without labels=, whose "
            "file says what to ignore; of a run, data.ignore says it"
        )
    if not isinstance(settings.ignore, int | None):
        raise ValueError(f"ignore must be an integer, got {settings.ignore}")
    if settings.match_histograms is not None and not settings.run:
        raise ValueError("match_histograms must only be given with run=")
    if settings.network["scale"] is not None and not settings.run:
        raise ValueError("network.scale must only be given with run=")
    if settings.decision and (not settings.run or "num_classes" in settings.decision):
        raise ValueError("decision must be argmax, which needs no fit, and only be given with run=")


def write(output: Path, result: Result) -> None:
    """Write ``evaluation.json``, what was scored and the means, and then ``subjects.csv``."""
    record = {
        **result.inputs,
        "decision": result.decision,
        "scale": result.scale,
        "histogram_matched": result.matched,
        "subjects": len({row.subject for row in result.rows}),
        "means": overall_means(result.rows)._asdict(),
        "nsd_tolerance": result.tolerance,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        **software_versions(),
    }
    with write_atomically(output / RunFile.EVALUATION) as file:
        json.dump(record, file, indent=2)
    write_scores(output / RunFile.SCORES, result.rows)


def _score_folders(settings: SimpleNamespace, output: Path) -> Result:
    """Score a folder of label maps against another.

    Raises:
        UserError: They do not belong together, or a file cannot be read.
    """
    with mistakes_as_user_errors():
        predictions, truth = (
            Path(settings.predictions).expanduser(),
            Path(settings.truth).expanduser(),
        )
        structures, mapping = numbering(settings, predictions, truth)
        _check_names(structures or ())
        pattern = settings.label_pattern
        pairs, left_over = find_pairs(predictions, truth, pattern)
        missing = unlabelled_in(truth / DESCRIPTION, structures or ())
        pairs = [replace(pair, unlabelled=missing.get(pair.true_name, ())) for pair in pairs]
        if left_over:
            log.warning(f"{left_over} label maps of {truth} have no prediction and do not count")
        told = settings.tolerance
        tolerance = tolerance_of(truth, pattern) if told is None else told
        output.mkdir(parents=True, exist_ok=True)
        rows = score_pairs(pairs, structures, tolerance, mapping, settings.ignore)
    return Result(rows, tolerance, {"predictions": str(predictions), "truth": str(truth)})


def _check_names(structures: Sequence[str]) -> None:
    """Check that no two structures share a name, by which scores are told apart.

    Raises:
        ValueError: Two do.
    """
    if twice := [name for name, count in Counter(structures).items() if count > 1]:
        raise ValueError(f"structures must differ from one another, got {twice[0]} twice")
