"""Looking at every scan before anything is written: what is wrong, and what is there."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from gaborseg.data import Case, check_intensities
from gaborseg.preparation.reading import Labels, Reading, placed_labels, read_images, read_labels
from gaborseg.scans import Problem, Scan, ScanError, check_same_grid, voxel_sides

_MOST_IDS = 1000
"""Different values in a label map; with more it is taken for an image."""
_SAMPLE = 2**18
"""Voxels that percentiles are taken from, evenly spread."""
_PERCENTILES = (1, 50, 99)


@dataclass(frozen=True)
class Inspection:
    """What is known about a scan; plain values.

    Attributes:
        subject: Its id.
        problems: What keeps it from being used; the rest is then empty.
        shape: Voxels along each of its axes.
        spacing: Millimetres from voxel to voxel along each of its axes.
        voxel_mm3: Volume of a voxel.
        orientation: Where its axes point, e.g. ``RAS``.
        oriented: Whether the headers of its files know left from right.
        stored: Type of the voxels of each image and of the label map.
        intensities: Of each channel, statistics by name.
        voxels: Number of voxels of each id in the label map.
        moved_mm: How far the header of its label map was from the image's, if that was ignored.
        missing: Structures of which it has no mask, where masks make the label map.
        overlap: Voxels that several of its masks claim.
    """

    subject: str
    problems: tuple[Problem, ...] = ()
    shape: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()
    voxel_mm3: float = 0.0
    orientation: str = ""
    oriented: bool = True
    stored: tuple[str, ...] = ()
    intensities: tuple[dict[str, float], ...] = ()
    voxels: tuple[tuple[int, int], ...] = ()
    moved_mm: float = 0.0
    missing: tuple[str, ...] = ()
    overlap: int = 0

    def as_json(self) -> dict[str, Any]:
        """The attributes by name, without the problems."""
        return {name: value for name, value in asdict(self).items() if name != "problems"}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Inspection":
        """What ``as_json`` gave."""
        record = {"missing": (), **record}
        lists = ("shape", "spacing", "stored", "intensities", "missing")
        voxels = tuple((int(one), int(count)) for one, count in record["voxels"])
        return cls(**record | {name: tuple(record[name]) for name in lists} | {"voxels": voxels})


def inspect_case(reading: Reading, case: Case) -> Inspection:
    """Read all files of a case; what is wrong with them, or what they hold.

    Args:
        reading: How they are read.
        case: The scan.
    """
    problems: list[Problem] = []

    def attempt(function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except ScanError as error:
            problems.append(Problem.of(error, case.subject))
            return None

    groups = [attempt(_inspect_image, replace(case, images=(p,)), reading) for p in case.images]
    images = [one for group in groups for one in group or ()]
    labels, voxels = attempt(_inspect_labels, case, reading) or (None, ())
    for path, scan, _ in images[1:]:
        attempt(check_same_grid, path, scan, *images[0][:2])
    if labels and images:
        labels = attempt(placed_labels, labels, *images[0][:2], reading.geometry)
    if problems or labels is None:
        return Inspection(case.subject, tuple(problems))
    first = images[0][1]
    scans = [*(scan for _, scan, _ in images), labels.scan]
    return Inspection(
        case.subject,
        shape=first.voxels.shape,
        spacing=tuple(voxel_sides(first.affine).round(6).tolist()),
        voxel_mm3=float(abs(np.linalg.det(first.affine[:3, :3])).round(9)),
        orientation="".join(nib.orientations.aff2axcodes(first.affine)),
        oriented=all(scan.placement.oriented for scan in scans),
        stored=tuple(scan.stored for scan in scans),
        intensities=tuple(statistics for _, _, statistics in images),
        voxels=voxels,
        moved_mm=labels.moved_mm,
        missing=labels.missing,
        overlap=labels.overlap,
    )


def _inspect_image(case: Case, reading: Reading) -> list[tuple[Path, Scan, dict[str, float]]]:
    """The channels that an image file holds, and statistics of their intensities.

    Raises:
        ScanError: It cannot be used.
    """
    found = []
    for path, scan in read_images(case, reading):
        check_intensities(path, scan.voxels)
        if reading.window is not None:
            _check_window(path, scan.voxels, *reading.window)
        found.append((path, scan, _statistics_of(scan.voxels)))
    return found


def _check_window(path: Path, voxels: NDArray, low: float, high: float) -> None:
    """Check that the intensities of an image still differ in a window.

    Raises:
        ScanError: They do not.
    """
    if voxels.max() <= low or voxels.min() >= high:
        problem = f"must have intensities between {low:g} and {high:g}, got {voxels.min():g} to"
        remedy = "see whether they are Hounsfield units; choose another window=, or null"
        raise ScanError(path, f"{problem} {voxels.max():g}", remedy)


def _inspect_labels(case: Case, reading: Reading) -> tuple[Labels, tuple[tuple[int, int], ...]]:
    """The label map of a case, and the number of voxels of each id, ascending.

    Raises:
        ScanError: It cannot be used, or has more values than a label map.
    """
    labels = read_labels(case, reading)
    ids, counts = np.unique(labels.ids, return_counts=True)
    if len(ids) > _MOST_IDS:
        problem = f"must hold labels, got {len(ids)} different values"
        remedy = "check that it is the label map, not an image"
        raise ScanError(labels.path, problem, remedy)
    return labels, tuple(zip(ids.tolist(), counts.tolist(), strict=True))


def _statistics_of(voxels: NDArray) -> dict[str, float]:
    """Least, largest, mean and deviation of the intensities, and percentiles."""
    step = max(1, voxels.size // _SAMPLE)
    sample = np.percentile(voxels.ravel()[::step], _PERCENTILES)
    exact = {
        "min": voxels.min(),
        "max": voxels.max(),
        "mean": voxels.mean(dtype=np.float64),
        "std": voxels.std(dtype=np.float64),
    }
    percentiles = {f"p{one}": value for one, value in zip(_PERCENTILES, sample, strict=True)}
    return {name: float(f"{value:.6g}") for name, value in (exact | percentiles).items()}
