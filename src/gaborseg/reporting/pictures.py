"""The pictures of a report that need more than scores: a segmented subject, and trained kernels."""

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gaborseg.models import ModelError
from gaborseg.pictures import KernelLayer, draw_subject, gallery_charts, gallery_rows
from gaborseg.reporting.tables import Column, Table
from gaborseg.reporting.trained_kernels import trained_kernels
from gaborseg.runs import RunFile
from gaborseg.scans import read_scan
from gaborseg.study import (
    KERNELS,
    Results,
    RunRecord,
    chosen_kernel,
    readable,
    readable_rate,
    readable_split,
    source_of,
)

log = logging.getLogger(__name__)

_LABELS = "_dseg.nii.gz"
"""How the names of label maps end."""


@dataclass(frozen=True)
class _Drawing:
    """A figure with its place in the report.

    Attributes:
        name: Of its files.
        section: Of the page.
        text: What it shows.
        figure: The figure.
    """

    name: str
    section: str
    text: str
    figure: Figure


@dataclass(frozen=True)
class Shown:
    """A test subject and the runs that segmented it.

    Attributes:
        subject: Its id.
        split: In which it was tested.
        why: Why this one, in brackets.
        runs: A run of each configuration, by its label.
    """

    subject: str
    split: str
    why: str
    runs: dict[str, RunRecord]


def subject_drawing(shown: Shown, results: Results) -> _Drawing | None:
    """Return Fig. 4: truth and predictions of a test subject, None if its data are not there."""
    first = next(iter(shown.runs.values()))
    try:
        image, truth, affine = read_case(first, shown.subject)
        figure = draw_subject(
            image,
            truth,
            {name: read_labels(prediction(r, shown.subject)) for name, r in shown.runs.items()},
            results.study.structures,
            {name: subject_dice(run, shown.subject) for name, run in shown.runs.items()},
            affine=affine,
            title=f"{shown.subject}, {readable_split(shown.split)}",
        )
    except Exception as error:  # whatever a damaged file makes nibabel, zlib or numpy raise
        log.warning(f"note: {first.folder}: no picture of {shown.subject}: {error}")
        return None
    text = (
        f"Test subject {shown.subject} of {readable_split(shown.split)}{shown.why}: truth and "
        "predictions, "
        "an axial slice above; below, surfaces without the three big tissues. The Dice is the mean "
        "over structures of this subject."
    )
    return _Drawing("subject", "Segmentations", text, figure)


def choose_subject(results: Results, subject: str | None) -> Shown | None:
    """Return the subject of the picture, in the split where most configurations predicted it.

    Args:
        results: The runs.
        subject: Its id; None: the one with the median of the mean Dice over configurations.

    Returns:
        None if no run keeps its predictions.

    Raises:
        ValueError: If the wanted subject has no prediction.
    """
    splits: dict[str, dict[str, RunRecord]] = {}
    for configuration in results.shown:
        for position in configuration.runs[results.rates[configuration.id]]:
            run = results.study.runs[position]
            if (run.folder / RunFile.PREDICTIONS).is_dir():
                splits.setdefault(run.split, {}).setdefault(configuration.label, run)
    found = []
    why = "" if subject else " (the median one by mean Dice)"
    for split, runs in sorted(splits.items()):
        tested = sorted({s for run in runs.values() for s in run.scores["subject"]})
        for name in [subject] if subject else tested:
            having = {c: run for c, run in runs.items() if prediction(run, name).exists()}
            if having:
                found.append(Shown(name, split, why, having))
    if not found:
        if subject:
            raise ValueError(f"subject must be tested by a run with predictions, got {subject}")
        return None
    most = max(len(shown.runs) for shown in found)
    split = next(shown.split for shown in found if len(shown.runs) == most)
    candidates = [s for s in found if s.split == split and len(s.runs) == most]
    ordered = sorted(candidates, key=mean_dice)
    return ordered[len(ordered) // 2]


def mean_dice(shown: Shown) -> float:
    """Return the mean over runs of a subject's mean Dice."""
    return float(np.mean([subject_dice(run, shown.subject) for run in shown.runs.values()]))


def subject_dice(run: RunRecord, subject: str) -> float:
    """Return a subject's mean Dice over structures."""
    return float(run.scores.loc[run.scores["subject"] == subject, "dice"].mean())


def prediction(run: RunRecord, subject: str) -> Path:
    """Return where a run keeps its label map of a subject."""
    return run.folder / RunFile.PREDICTIONS / f"{subject}.nii.gz"


def read_case(
    run: RunRecord, subject: str
) -> tuple[NDArray[np.float32], NDArray[np.integer], NDArray[np.float64]]:
    """Return scan, true labels and affine of a subject from the data that a run was tested on."""
    folder, name = source_of(run, subject)
    scan = read_scan(_image(folder, name, run))
    return scan.voxels.astype(np.float32), read_truth(run, subject), scan.affine


def read_truth(run: RunRecord, subject: str) -> NDArray[np.integer]:
    """Return the true labels of a subject from the data that a run was tested on."""
    folder, name = source_of(run, subject)
    return read_labels(folder / f"{name}{_LABELS}")


def _image(folder: Path, name: str, run: RunRecord) -> Path:
    """Return the first channel of a subject, whose only one may be called otherwise elsewhere."""
    channel = (run.data.get("channels") or ["T1w"])[0]
    path = folder / f"{name}_{channel}.nii.gz"
    others = (p for p in sorted(folder.glob(f"{name}_*.nii.gz")) if p.name != f"{name}{_LABELS}")
    return path if path.is_file() else next(others, path)


def read_labels(path: Path) -> NDArray[np.integer]:
    """Return the voxels of a label map."""
    return read_scan(path).voxels.astype(np.int16)


def kernel_drawings(
    results: Results, trust: Sequence[str] = ()
) -> Iterator[tuple[list[_Drawing], Table]]:
    """Yield pictures and numbers of the trained kernels, of the best run of each kernel option.

    Layers of different classes in one network are drawn and listed by themselves.
    """
    for kernel, run, rate in _best_runs(results):
        try:
            layers = trained_kernels(run.folder, trust)
        except (ModelError, OSError, ValueError) as error:
            log.warning(f"note: {run.folder}: no pictures of its kernels: {error}")
            continue
        where = f"{readable(kernel, KERNELS)} network, {run.folder.name}, rate {rate}"
        families = dict.fromkeys(layer.family for layer in layers)
        for family in families:
            own = [layer for layer in layers if layer.family == family]
            told = kernel if len(families) == 1 else f"{kernel}_{family.lower()}"
            stem = re.sub(r"[^\w.-]", "_", told)  # a run folder may call it ../../anything
            drawings = [
                _Drawing(f"{stem}_{name}", "Kernels", f"{what(name)} of the {where}.", figure)
                for name, figure in gallery_charts(own)
            ]
            yield drawings, _kernel_table(stem, where, own)


def _best_runs(results: Results) -> Iterator[tuple[str, RunRecord, str]]:
    """Yield for each kernel the run of the highest validation Dice whose checkpoint is left."""
    best: dict[str, tuple[float, RunRecord, str]] = {}
    for c in results.shown:
        rate = results.rates[c.id]
        for run in (results.study.runs[i] for i in c.runs[rate]):
            score = run.validation_dice
            better = c.kernel not in best or score > best[c.kernel][0]
            left = chosen_kernel(run) and (run.folder / RunFile.BEST).exists()
            if left and not np.isnan(score) and better:
                best[c.kernel] = (score, run, readable_rate(rate))
    for kernel, (_, run, name) in best.items():
        yield kernel, run, name


def what(name: str) -> str:
    """Return what a picture of kernels shows, by its name."""
    if name == "kernel_distributions":
        return "Distributions of the kernels' parameters at the start and trained"
    if name == "kernel_layers":
        return "Parameters, change and shares of the kernels, layer by layer"
    return f"Kernels and spectra ({name.removeprefix('kernels_').replace('_', ', ')})"


def _kernel_table(stem: str, where: str, layers: list[KernelLayer]) -> Table:
    """Return the numbers of all layers of one family as a table."""
    rows = gallery_rows(layers)
    return Table(
        name=f"kernels_{stem}",
        title=f"Kernels ({layers[0].family}) of the {where}",
        columns=tuple(Column(name.replace("_", " ")) for name in rows[0]),
        rows=tuple(tuple(row.values()) for row in rows),
        note="sigma in voxels, frequencies in cycles per voxel.",
    )
