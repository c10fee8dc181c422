"""The work of `predict`: models, scans, and where the results go."""

import glob
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from rich.table import Table

from gaborseg.inference.batch import Problem, segment_all
from gaborseg.inference.inputs import find_scans
from gaborseg.inference.results import Results, digest
from gaborseg.inference.segmenter import Segmenter
from gaborseg.interface import as_list, mistakes_as_user_errors, show
from gaborseg.machine import keep_freed_memory
from gaborseg.models import Model, ModelError, choose_device, facts_of, load_exported, load_trained
from gaborseg.runs import RunFile

log = logging.getLogger(__name__)


def predict(settings: SimpleNamespace) -> list[Problem]:
    """Segment as configured.

    Returns:
        The scans that could not be segmented.

    Raises:
        UserError: A model, the input or a setting cannot be used; nothing was written.
    """
    started = time.perf_counter()
    keep_freed_memory()
    with mistakes_as_user_errors():
        device = choose_device(settings.device)
        _use_threads(settings.threads)
        files = _checkpoint_files(_paths_of(settings.checkpoint))
        trust = tuple(as_list(settings.trust))
        models = [load_model(path, device, trust) for path in files]
        segmenter = Segmenter(
            models, list(settings.flips), settings.patch_size, device, settings.match_histograms
        )
        facts = segmenter.facts
        in_one = bool(facts.volumes)
        scans = find_scans(
            _paths_of(settings.input),
            facts.channels,
            in_one_file=in_one,
            pattern=settings.pattern,
        )
        results = Results(
            Path(settings.output).expanduser(),
            segmenter.facts.structures,
            _record_of(files, segmenter, settings),
            probabilities=settings.probabilities,
            overlay=settings.overlay,
            viewer=settings.viewer,
            overwrite=settings.overwrite,
        )
    log.info(summary(segmenter, len(scans)))
    problems = segment_all(segmenter, scans, results)
    report(problems, len(scans), results, time.perf_counter() - started)
    return problems


def _use_threads(count: Any) -> None:
    """Let so many threads compute; all if it is None.

    Raises:
        ValueError: It is no positive integer.
    """
    if count is None:
        return
    if type(count) is not int or count < 1:
        raise ValueError(f"threads must be a positive integer or null, got {count}")
    torch.set_num_threads(count)


def _paths_of(value: Any) -> list[Path]:
    """The paths in a setting that is one path or a list of them."""
    values = value if isinstance(value, list) else [value]
    return [Path(str(path)).expanduser() for path in values]


def _checkpoint_files(paths: Sequence[Path]) -> list[Path]:
    """The model files that are named: files, run folders, or patterns such as ``runs/split=*``.

    Raises:
        ModelError: A pattern matches nothing, there is none, or one model is named twice, be it by
            a link.
    """
    found: list[Path] = []
    for path in paths:
        matches = [path] if path.exists() else sorted(map(Path, glob.glob(str(path))))
        if not matches:
            raise ModelError(f"{path} is missing: a checkpoint is a model file or a run folder")
        found += [match / RunFile.BEST if match.is_dir() else match for match in matches]
    if not found:
        raise ModelError("checkpoint must name a model, got none")
    files = [path.resolve() for path in found]
    for path, file in zip(found, files, strict=True):
        if files.count(file) > 1:
            raise ModelError(f"{path} must be named once")
    return found


def load_model(path: Path, device: torch.device, trust: Sequence[str] = ()) -> Model:
    """A model that is ready to use, from a checkpoint or an ONNX file.

    Args:
        path: The file.
        device: Where it is to work.
        trust: Modules and packages of the user's whose layers a checkpoint's network may have.

    Raises:
        ModelError: The file cannot be used.
    """
    if path.suffix == ".pt2":
        raise ModelError(f"{path} is for use elsewhere: give its checkpoint, or an .onnx file")
    if path.suffix == ".onnx":
        return load_exported(path, device)
    trained = load_trained(path, device, trust)
    try:
        facts = facts_of(trained.data)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    return Model(path, facts, trained.network, trained.decision.scores)


def _record_of(
    files: Sequence[Path], segmenter: Segmenter, settings: SimpleNamespace
) -> dict[str, Any]:
    """What decides the results, ready for JSON."""
    return {
        "models": [digest(path) for path in files],
        "structures": list(segmenter.facts.structures),
        "flips": sorted(settings.flips),
        **({} if segmenter.matching == "never" else {"match_histograms": segmenter.matching}),
        "patch_size": segmenter.patch_size,
    }


def summary(segmenter: Segmenter, count: int) -> str:
    """What is about to be done, in a line."""
    facts, (low, high) = segmenter.facts, segmenter.field_of_view
    sides = f"{low:.0f}" if high - low < 1 else f"{low:.0f} to {high:.0f}"
    return (
        f"Scans: {count}. Models: {len(segmenter.models)} of {len(facts.structures)} structures in "
        f"{' and '.join(facts.channels)}, trained on {'x'.join(map(str, facts.size))} voxels and "
        f"fields of view of {sides} mm. Device: {segmenter.device}"
    )


def report(problems: Sequence[Problem], count: int, results: Results, seconds: float) -> None:
    """Show the scans that were not segmented, and where everything is."""
    if problems:
        table = Table("scan", "why it was not segmented", title="Not segmented")
        for problem in problems:
            table.add_row(problem.scan, problem.reason)
        show(table)
    done = count - len(problems)
    log.info(f"{done} of {count} scans are segmented, {seconds:.0f} s; see {results.table}")
