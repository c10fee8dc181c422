"""Scan after scan: read, segment, measure, write; a scan that fails does not stop the others."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from src.inference.inputs import Images, ScanFiles, read_images
from src.inference.outputs import write_labels, write_probabilities
from src.inference.overlay import draw_overlay
from src.inference.results import SOURCE, ResultFiles, Results, digest
from src.inference.segmenter import Segmentation, Segmenter

log = logging.getLogger(__name__)

FAILURES = (OSError, ValueError, MemoryError, RuntimeError)
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
            line = "done before" if results.is_done(scan) else segment_one(segmenter, scan, results)
        except FAILURES as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            problems.append(Problem(scan.name, reason))
            if not isinstance(error, FileExistsError):
                results.add(scan.name, {"problem": reason, "warnings": ""}, {})
            line = f"not segmented: {reason}"
        log.info("%s: %s", progress, line)
    return problems


def segment_one(segmenter: Segmenter, scan: ScanFiles, results: Results) -> str:
    """Segment a scan and write its results; returns what there is to say about it.

    The label map is written last: where it is, everything is.
    """
    started = time.perf_counter()
    images = read_images(scan.files)
    found = segmenter(images.voxels, images.affine)
    volumes = volumes_of(found, images, results.structures)
    warnings = "; ".join([*images.doubts, *found.warnings])
    values = {
        "problem": "",
        "warnings": warnings,
        "seconds": time.perf_counter() - started,
        "confidence": found.confidence,
        "unlikeness": found.unlikeness,
        "field_of_view_mm": found.grid.spacing * found.grid.size,
        SOURCE: digest(*scan.files),
    }
    results.add(scan.name, values, volumes)
    files = results.files_of(scan)
    write_extras(files, scan, images, found, volumes, overwrite=results.overwrite)
    write_labels(files.labels, found.labels, scan.files[0], images.affine)
    seconds = time.perf_counter() - started
    present = sum(volume > 0 for volume in volumes.values())
    line = (
        f"{present}/{len(volumes)} structures, confidence {found.confidence:.2f}, {seconds:.1f} s"
    )
    return f"{line}; look at it: {warnings}" if warnings else line


def write_extras(
    files: ResultFiles,
    scan: ScanFiles,
    images: Images,
    found: Segmentation,
    volumes: dict[str, float],
    *,
    overwrite: bool,
) -> None:
    """Write what is wanted besides the label map and not there yet."""
    if files.probabilities and (overwrite or not files.probabilities.exists()):
        write_probabilities(files.probabilities, found.scores, found.grid, scan.files[0])
    if files.overlay and (overwrite or not files.overlay.exists()):
        title = f"{scan.name}   confidence {found.confidence:.2f}"
        draw_overlay(files.overlay, images.voxels[0], found.labels, found.grid, volumes, title)


def volumes_of(found: Segmentation, images: Images, structures: Sequence[str]) -> dict[str, float]:
    """Volume of each structure in the scan, mm^3."""
    voxel = float(abs(np.linalg.det(images.affine[:3, :3])))
    counts = torch.bincount(found.labels.flatten().int(), minlength=len(structures) + 1)
    return {
        name: voxel * count for name, count in zip(structures, counts[1:].tolist(), strict=True)
    }
