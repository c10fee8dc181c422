"""Looking at every scan before anything is written: what is wrong, and what is there."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from gaborseg.data import Case, check_intensities, whole_numbers
from gaborseg.scans import Problem, Scan, ScanError, check_same_grid, read_placed, voxel_sides

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

    def as_json(self) -> dict[str, Any]:
        """The attributes by name, without the problems."""
        return {name: value for name, value in asdict(self).items() if name != "problems"}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Inspection":
        """What ``as_json`` gave."""
        lists = ("shape", "spacing", "stored", "intensities")
        voxels = tuple((int(one), int(count)) for one, count in record["voxels"])
        return cls(**record | {name: tuple(record[name]) for name in lists} | {"voxels": voxels})


def inspect_case(forms: str, case: Case) -> Inspection:
    """Read all files of a case; what is wrong with them, or what they hold.

    Args:
        forms: Which affine to use where a NIfTI header gives two different ones: ``sform``,
            ``qform``, or ``agree`` to refuse the file.
        case: The scan.
    """
    problems: list[Problem] = []

    def attempt(function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except ScanError as error:
            problems.append(Problem.of(error, case.subject))
            return None

    images = [attempt(_inspect_image, path, forms) for path in case.images]
    label = attempt(_inspect_label, case.label, forms)
    read = [(p, one[0]) for p, one in zip(case.files, [*images, label], strict=True) if one]
    for path, scan in read[1:]:
        attempt(check_same_grid, path, scan, *read[0])
    if problems:
        return Inspection(case.subject, tuple(problems))
    first = images[0][0]
    return Inspection(
        case.subject,
        shape=first.voxels.shape,
        spacing=tuple(voxel_sides(first.affine).round(6).tolist()),
        voxel_mm3=float(abs(np.linalg.det(first.affine[:3, :3])).round(9)),
        orientation="".join(nib.orientations.aff2axcodes(first.affine)),
        oriented=all(scan.placement.oriented for _, scan in read),
        stored=tuple(scan.stored for _, scan in read),
        intensities=tuple(statistics for _, statistics in images),
        voxels=label[1],
    )


def _inspect_image(path: Path, forms: str) -> tuple[Scan, dict[str, float]]:
    """An image, and statistics of its intensities.

    Raises:
        ScanError: It cannot be used.
    """
    scan = read_placed(path, forms)
    check_intensities(path, scan.voxels)
    return scan, _statistics_of(scan.voxels)


def _inspect_label(path: Path, forms: str) -> tuple[Scan, tuple[tuple[int, int], ...]]:
    """A label map, and the number of voxels of each id.

    Raises:
        ScanError: It cannot be used.
    """
    scan = read_placed(path, forms)
    ids, counts = np.unique(whole_numbers(path, scan.voxels), return_counts=True)
    if len(ids) > _MOST_IDS:
        problem = f"must hold labels, got {len(ids)} different values"
        raise ScanError(path, problem, "check that it is the label map, not an image")
    return scan, tuple(zip(ids.tolist(), counts.tolist(), strict=True))


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
