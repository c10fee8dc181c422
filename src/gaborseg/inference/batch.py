"""Scan after scan: read, segment, measure, write; a scan that fails does not stop the others."""

import contextlib
import logging
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from gaborseg.inference.inputs import Images, ScanFiles, read_images
from gaborseg.inference.outputs import write_labels, write_probabilities, write_viewer
from gaborseg.inference.results import SOURCE, Results, Work, digest
from gaborseg.inference.segmenter import Segmentation, Segmenter
from gaborseg.interface import obstacle
from gaborseg.machine import PARTIAL
from gaborseg.scans import DataError

log = logging.getLogger(__name__)

_FAILURES = (OSError, ValueError, MemoryError, RuntimeError)
"""What a scan of its own can cause: it is damaged, in the way, or too large."""


@dataclass(frozen=True)
class Problem:
    """A scan that was not segmented, and why."""

    scan: str
    reason: str


def segment_all(
    segmenter: Segmenter, scans: Sequence[ScanFiles], results: Results
) -> list[Problem]:
    """Segment scans into a folder of results; a line of log for each.

    Returns:
        The scans that were not segmented.
    """
    problems = []
    for number, scan in enumerate(scans, start=1):
        progress = f"[{number}/{len(scans)}] {scan.name}"
        try:
            work = work_on(scan, results)
            line = _segment_one(segmenter, scan, results, work) if work.write else "done before"
        except _FAILURES as error:
            told = obstacle(error) or error
            reason = (str(told).strip() or type(error).__name__).splitlines()[0]
            problems.append(Problem(scan.name, reason))
            with contextlib.suppress(OSError):  # others write there now, or the disk is full
                results.add_problem(scan, reason)
            line = f"not segmented: {reason}"
        log.info("%s: %s", progress, line)
    return problems


def work_on(scan: ScanFiles, results: Results) -> Work:
    """What is to be done for a scan.

    Raises:
        DataError: The names of its files tell already that it cannot be segmented.
        FileExistsError: A file is in the way.
    """
    if scan.problem:
        raise DataError(scan.problem)
    return results.work_on(scan)


def _segment_one(segmenter: Segmenter, scan: ScanFiles, results: Results, work: Work) -> str:
    """Segment a scan and write its results; returns what there is to say about it."""
    started = time.perf_counter()
    facts = segmenter.facts
    images = read_images(scan.files, facts.forms, facts.volumes, facts.num_volumes)
    found = segmenter(images.voxels, images.affine)
    volumes = _volumes_of(found, images, results.structures)
    warnings = "; ".join([*images.doubts, *found.warnings])
    values = {
        "problem": "",
        "warnings": warnings,
        "seconds": time.perf_counter() - started,
        "confidence": found.confidence,
        "unlikeness": found.unlikeness,
        "field_of_view_mm": found.grid.spacing * found.grid.size,
        SOURCE: digest(*scan.contents),
    }
    with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=results.folder) as workshop:
        made = {kind: Path(workshop, path.name) for kind, path in work.write.items()}
        _write_results(made, scan, images, found, volumes)
        results.keep(scan, made, values, volumes)
    seconds = time.perf_counter() - started
    present = sum(volume > 0 for volume in volumes.values())
    line = (
        f"{present}/{len(volumes)} structures, confidence {found.confidence:.2f}, {seconds:.1f} s"
    )
    line += ", histogram matched" if found.matched else ""
    return f"{line}; look at it: {warnings}" if warnings else line


def _write_results(
    paths: Mapping[str, Path],
    scan: ScanFiles,
    images: Images,
    found: Segmentation,
    volumes: dict[str, float],
) -> None:
    """Write the results of a scan that have a path."""
    if path := paths.get("probabilities"):
        write_probabilities(path, found.scores, found.grid, scan.files[0])
    if path := paths.get("overlay"):
        from gaborseg.pictures import draw_overlay  # imports matplotlib

        title = f"{scan.name}   confidence {found.confidence:.2f}"
        draw_overlay(path, images.voxels[0], found.labels, found.grid, volumes, title)
    if path := paths.get("viewer"):
        write_viewer(path, images.voxels[0], found.labels, images.affine, list(volumes), scan.name)
    if path := paths.get("labels"):
        write_labels(path, found.labels, scan.files[0], images.affine)


def _volumes_of(found: Segmentation, images: Images, structures: Sequence[str]) -> dict[str, float]:
    """Volume of each structure in the scan, mm^3."""
    voxel = float(abs(np.linalg.det(images.affine[:3, :3])))
    counts = torch.bincount(found.labels.flatten().int(), minlength=len(structures) + 1)
    return {
        name: voxel * count for name, count in zip(structures, counts[1:].tolist(), strict=True)
    }
