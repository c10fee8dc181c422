"""A finished run once more: its cases, segmented with its network and scored."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gaborseg.data import (
    BETWEEN_NAMES,
    NO_HISTOGRAM,
    Appearance,
    Histograms,
    PreparedCase,
    SegmentationData,
    fill_cache,
    infer_volume,
    own_names,
)
from gaborseg.decisions import probabilities
from gaborseg.interface import build, mistakes_as_user_errors
from gaborseg.machine import progress, refuse_link
from gaborseg.metrics import calibration_errors, case_scores, voxel_tolerance
from gaborseg.models import ModelError, TrainedModel, check_logits, choose_device, load_trained
from gaborseg.networks import scale_kernels
from gaborseg.runs import RunFile, Score, read_record, score_rows
from gaborseg.scans import DataError, Window, voxel_sides, window_of
from gaborseg.training import write_label_map

log = logging.getLogger(__name__)


PARTS = ("train", "validation", "test", "all")
_BUILDERS = {
    "": ("gaborseg.data.SegmentationData", "gaborseg.data.SegmentationData.from_folder"),
    "source": ("gaborseg.data.AtlasCohort",),
}
"""What a run's data, and their source, may be built with: a run folder may be a stranger's."""
_MOST_SIMULATED = 1000
"""Subjects of a cohort that is built because a run folder says so."""
_LOCAL = ("cache", "processes")
"""Settings of data that are of the machine that the run was trained on."""


class Result(NamedTuple):
    """Scores of every subject and structure, the NSD tolerance in mm, what was scored, and how.

    ``scale`` is that of the kernels, if another than the training's was asked for; ``matched`` the
    subjects whose histogram was made that of the training scans, None if none was to be.
    """

    rows: list[Score]
    tolerance: float
    inputs: dict[str, str]
    decision: str | None = None
    scale: int | None = None
    matched: tuple[str, ...] | None = None


class _Cases(NamedTuple):
    """Prepared cases by subject; name, NSD tolerance in mm, ignored label of all their data.

    ``unlabelled`` are the labels that nobody has looked for, (n + 1,) bool, if there are such;
    ``prefixes``, how the names of each folder's subjects begin, if there are several folders.
    """

    prepared: dict[str, PreparedCase]
    name: str
    tolerance: float
    ignore: int | None
    unlabelled: dict[str, Tensor]
    prefixes: tuple[str, ...]


def score_run(settings: SimpleNamespace, output: Path) -> Result:
    """Segment with a run's network, write the label maps, and score them.

    Raises:
        UserError: The checkpoint cannot be used, or the data do not fit it.
    """
    with mistakes_as_user_errors():
        checkpoint = Path(settings.run).expanduser() / settings.checkpoint
        trained = load_trained(checkpoint, choose_device(settings.device), settings.trust)
        if settings.network["scale"] is not None:
            scale_kernels(trained.network, settings.network["scale"])
        decision = build(settings.decision) if settings.decision else trained.decision
        histograms = _histograms(trained, settings)
        cases = _other_cases(settings, trained) if settings.data else own_cases(settings, trained)
        refuse_link(output / RunFile.PREDICTIONS)
        (output / RunFile.PREDICTIONS).mkdir(parents=True, exist_ok=True)
    tolerance = cases.tolerance if settings.tolerance is None else settings.tolerance
    rows: list[Score] = []
    matched = []
    for subject in progress(cases.prepared, "Segmenting and scoring"):
        case, unlabelled = cases.prepared[subject], cases.unlabelled.get(subject)
        image, _, is_matched = histograms(np.array(case.read("image")))
        matched += [subject] if is_matched else []
        with mistakes_as_user_errors():
            logits = _logits(trained, image)
            truth = torch.from_numpy(np.array(case.read("label")))
            prediction, errors = _decided(decision, logits, truth, cases.ignore, unlabelled)
        affine = case.read("affine")
        write_label_map(output / RunFile.PREDICTIONS / f"{subject}.nii.gz", prediction, affine)
        spacing = voxel_sides(affine).tolist()
        scores = case_scores(
            prediction,
            truth,
            len(trained.structures),
            spacing=spacing,
            tolerance=tolerance,
            ignore=cases.ignore,
            unlabelled=unlabelled,
        )
        columns = [column.tolist() for column in (*scores, *errors)]
        rows += score_rows(subject, trained.structures, columns)
    inputs = {"checkpoint": str(trained.checkpoint), "data": cases.name}
    decided = type(decision).__name__.lower()
    if matched:
        log.info(f"{len(matched)} of {len(cases.prepared)} scans: histogram matched")
    told = tuple(matched) if histograms.in_use else None
    return Result(rows, tolerance, inputs, decided, settings.network["scale"], told)


def _histograms(trained: TrainedModel, settings: SimpleNamespace) -> Histograms:
    """What gives scans the histogram of the training scans, where that is wanted.

    Raises:
        ValueError: There is no such choice.
    """
    told = settings.match_histograms
    if told is None:
        told = "auto" if settings.data else "never"
    if told == "auto" and window_of(trained.data):
        told = "never"
    known = trained.data.get("appearance")
    if told == "always" and not known:
        raise ModelError(f"{trained.checkpoint} {NO_HISTOGRAM}")
    return Histograms([Appearance(**known)] if known and told != "never" else [], told)


@torch.inference_mode()
def _logits(trained: TrainedModel, image: NDArray) -> Tensor:
    """Logits (1, C, D, H, W) of an image (I, D, H, W), whole or in patches, as in the training."""
    device = next(trained.network.parameters()).device
    batch = torch.from_numpy(image).to(device)[None]
    logits = infer_volume(trained.network, batch, trained.data.get("patch_size"))
    return check_logits(logits, trained.checkpoint)


@torch.inference_mode()
def _decided(
    decision: nn.Module,
    logits: Tensor,
    truth: Tensor,
    ignore: int | None,
    unlabelled: Tensor | None,
) -> tuple[Tensor, list[Tensor]]:
    """The predicted labels (D, H, W), on the CPU, and the errors of all that are probabilities.

    Errors are expected calibration errors, (C - 1,) each.
    """
    errors = [
        calibration_errors(probs[0].cpu(), truth, ignore, unlabelled)
        for probs in probabilities(decision, logits)
    ]
    return decision(logits)[0].cpu(), errors


def own_cases(settings: SimpleNamespace, trained: TrainedModel) -> _Cases:
    """The cases of a part of the run's own data, found or built as the run has.

    Prepared arrays go to the user's own cache, wherever the run had its cache.

    Raises:
        ModelError: The run folder does not tell its data, or would build them with foreign code.
        DataError: The data are no longer there.
    """
    if trained.run is None or "data" not in trained.config:
        raise ModelError(
            f"{trained.checkpoint} has no run folder around it; choose data with data="
        )
    node = own_data(trained.run, trained.config["data"])
    split = _split(trained.run)
    part = settings.part or "test"
    wanted = [s for name in PARTS[:3] if part in (name, "all") for s in split.get(name, [])]
    cases = _fit_cases(build(node), trained)
    if missing := [subject for subject in wanted if subject not in cases.prepared]:
        raise DataError(f"{missing[0]} of the run is not in {cases.name} any more")
    return cases._replace(prepared={subject: cases.prepared[subject] for subject in wanted})


def own_data(run: Path, node: object) -> dict[str, Any]:
    """What a run's data are to be built from: nothing in it says where to write, or how hard.

    Raises:
        ModelError: They are not described, or not by plain values and our own classes.
    """
    if not isinstance(node, dict):
        raise ModelError(f"{run} must describe its data, got {type(node).__name__}")
    node = node | {"augmentation": None}
    _check_data(run, node)
    source = node.get("source")
    _check_cohort(run, source)
    kept = {"source": _without_local(source)} if isinstance(source, dict) else {}
    return _without_local(node) | kept


def _check_cohort(run: Path, source: object) -> None:
    """Check that a run asks for no more simulated subjects than take some minutes.

    Raises:
        ModelError: It does.
    """
    count = source.get("num_subjects", 1) if isinstance(source, dict) else 1
    if not isinstance(count, int) or count > _MOST_SIMULATED:
        raise ModelError(
            f"{run} must have at most {_MOST_SIMULATED} simulated subjects, got {count}; if they "
            "are yours: data=atlas data.source.num_subjects=..."
        )


def _without_local(node: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in node.items() if key not in _LOCAL}


def _check_data(run: Path, node: object, key: str = "") -> None:
    """Check that the data of a run are plain values, to be built by our own classes alone.

    Raises:
        ModelError: They are not.
    """
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "_target_" and value not in _BUILDERS.get(key, ()):
                raise ModelError(f"{run} must build its data with gaborseg's classes, got {value}")
            if str(name).startswith("_") and name != "_target_":
                raise ModelError(f"{run} must describe its data without {name}")
            _check_data(run, value, str(name))
    elif isinstance(node, list):
        for value in node:
            _check_data(run, value, f"{key}[]")
    elif isinstance(node, str) and "${" in node:
        raise ModelError(f"{run} must describe its data without interpolations, got {node!r}")


def _other_cases(settings: SimpleNamespace, trained: TrainedModel) -> _Cases:
    """All cases of the data that are configured; says how many may be known to the run, by names.

    Raises:
        DataError: The data cannot be used, or do not fit the network.
    """
    data: SegmentationData = build(settings.data)
    cases = _fit_cases(data, trained)
    known = {*str(trained.data.get("name")).split(BETWEEN_NAMES)}
    alike = bool(known & {*cases.name.split(BETWEEN_NAMES)})
    if trained.run is not None and alike and (seen := _seen(trained.run, cases)):
        log.warning(
            f"{len(seen)} of these {len(cases.prepared)} subjects are called as subjects that "
            "the run was trained or validated on; if they are the same, scores are too high"
        )
    return cases


def _seen(run: Path, cases: _Cases) -> set[str]:
    """Subjects that a run may have been trained or validated on, by their names in their folders.

    Raises:
        ModelError: The run folder does not tell its subjects.
    """
    split = _split(run)
    roots = read_record(run)["data"].get("roots") or {}
    own = {*own_names((*split["train"], *split["validation"]), roots.values())}
    pairs = zip(cases.prepared, own_names([*cases.prepared], cases.prefixes), strict=True)
    return {subject for subject, name in pairs if name in own}


def _split(run: Path) -> dict[str, list[str]]:
    """Subjects of each part of a run's data.

    Raises:
        ModelError: The run folder does not tell them.
    """
    try:
        return dict(read_record(run)["data"]["split"])
    except (KeyError, TypeError) as error:
        raise ModelError(f"{run / RunFile.RECORD} must tell the split of the run's data") from error


def _fit_cases(data: SegmentationData, trained: TrainedModel) -> _Cases:
    """All cases of a data set, checked and prepared.

    Raises:
        DataError: The data cannot be used, or their structures or channels are not the network's.
    """
    dataset = data.source.dataset()
    for what in ("structures", "channels"):
        found, wanted = getattr(dataset, what), getattr(trained, what)
        if what == "channels" and found != wanted and len(found) == len(wanted) == 1:
            log.info(f"The channel {found[0]} is taken for the network's, {wanted[0]}")
        elif found != wanted:
            raise DataError(
                f"{dataset.root} must have the {what} of {trained.checkpoint}, "
                f"{', '.join(wanted)}, got {', '.join(found)}"
            )
    _compare_windows(dataset.root, dataset.info, trained)
    prepared = fill_cache(data.source.cache, dataset, data.ignore)
    tolerance = voxel_tolerance(case.read("affine") for case in prepared)
    by_subject = dict(zip(dataset.subjects, prepared, strict=True))
    rows = () if dataset.unlabelled is None else dataset.unlabelled
    unlabelled = dict(zip(dataset.subjects, rows, strict=False))
    prefixes = tuple(dataset.prefixes.values())
    return _Cases(by_subject, dataset.name, tolerance, data.ignore, unlabelled, prefixes)


def _compare_windows(root: Path, info: dict[str, Any], trained: TrainedModel) -> None:
    """Warn if the intensities of a data set were not clipped as those of the training were."""
    here, there = window_of(info), window_of(trained.data)
    if here != there:
        log.warning(
            f"{root} was prepared with window={_setting(here)}, the training data of "
            f"{trained.checkpoint} with window={_setting(there)}: prepare it like these"
        )


def _setting(window: Window | None) -> str:
    return "[{:g},{:g}]".format(*window) if window else "null"
