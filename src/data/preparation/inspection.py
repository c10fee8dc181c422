"""Looking at every scan before anything is written: what is wrong, and what is there."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from src.data.cases import Case
from src.data.checks import check_intensities, whole_numbers
from src.data.preparation.problems import Problem
from src.data.scans import Placement, Scan, ScanError, read_scan

SAME_PLACE = 0.1
"""Of a voxel's shortest edge: two grids that differ by less anywhere are the same."""
FORMS = ("agree", "sform", "qform")
MOST_IDS = 1000
"""Different values in a label map; with more it is taken for an image."""
SAMPLE = 2**18
"""Voxels that percentiles are taken from, evenly spread."""
PERCENTILES = (1, 50, 99)


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

    images = [attempt(inspect_image, path, forms) for path in case.images]
    label = attempt(inspect_label, case.label, forms)
    read = [(p, one[0]) for p, one in zip(case.files, [*images, label], strict=True) if one]
    for path, scan in read[1:]:
        attempt(check_same_grid, path, scan, *read[0])
    if problems:
        return Inspection(case.subject, tuple(problems))
    first = images[0][0]
    linear = first.affine[:3, :3]
    return Inspection(
        case.subject,
        shape=first.voxels.shape,
        spacing=tuple(np.linalg.norm(linear, axis=0).round(6).tolist()),
        voxel_mm3=float(abs(np.linalg.det(linear)).round(9)),
        orientation="".join(nib.orientations.aff2axcodes(first.affine)),
        oriented=all(scan.placement.oriented for _, scan in read),
        stored=tuple(scan.stored for _, scan in read),
        intensities=tuple(statistics for _, statistics in images),
        voxels=label[1],
    )


def inspect_image(path: Path, forms: str) -> tuple[Scan, dict[str, float]]:
    """An image, and statistics of its intensities.

    Raises:
        ScanError: It cannot be used.
    """
    scan = read_placed(path, forms)
    check_intensities(path, scan.voxels)
    return scan, statistics_of(scan.voxels)


def inspect_label(path: Path, forms: str) -> tuple[Scan, tuple[tuple[int, int], ...]]:
    """A label map, and the number of voxels of each id.

    Raises:
        ScanError: It cannot be used.
    """
    scan = read_placed(path, forms)
    ids, counts = np.unique(whole_numbers(path, scan.voxels), return_counts=True)
    if len(ids) > MOST_IDS:
        problem = f"must hold labels, got {len(ids)} different values"
        raise ScanError(path, problem, "check that it is the label map, not an image")
    return scan, tuple(zip(ids.tolist(), counts.tolist(), strict=True))


def read_placed(path: Path, forms: str) -> Scan:
    """A volume of several slices, placed by the chosen one of its header's affines.

    Raises:
        ScanError: It cannot be read or placed, or is a single slice.
    """
    scan = read_scan(path)
    if min(scan.voxels.shape) < 2:
        problem = f"must have several slices, got shape {scan.voxels.shape}"
        raise ScanError(path, problem, "bring a whole volume")
    return Scan(scan.voxels, scan.stored, chosen_placement(path, scan, forms))


def chosen_placement(path: Path, scan: Scan, forms: str) -> Placement:
    """Where a scan lies, by the affine of its header that is to be used.

    Raises:
        ScanError: Its two affines disagree, and none is preferred.
    """
    placement = scan.placement
    qform, sform = placement.qform, placement.sform
    if qform is None or sform is None:
        return placement
    apart = distance(qform, sform, scan.voxels.shape)
    if forms == "agree" and apart > SAME_PLACE * min(placement.spacing):
        problem = f"has a qform and an sform that disagree, by up to {apart:.3g} mm"
        raise ScanError(path, problem, "correct one; or choose: forms=sform or forms=qform")
    affine = qform if forms == "qform" else sform
    return Placement(affine, placement.spacing, qform, sform, placement.oriented)


def check_same_grid(path: Path, scan: Scan, other_path: Path, other: Scan) -> None:
    """Check that two files of a case have the same voxels.

    Raises:
        ScanError: They have not.
    """
    remedy = f"resample it onto the grid of {other_path.name}"
    if scan.voxels.shape != other.voxels.shape:
        problem = f"must have the shape {other.voxels.shape} of {other_path.name}"
        raise ScanError(path, f"{problem}, got {scan.voxels.shape}", remedy)
    apart = distance(scan.affine, other.affine, scan.voxels.shape)
    if apart > SAME_PLACE * min(scan.placement.spacing):
        problem = f"must lie where {other_path.name} lies, they are up to {apart:.3g} mm apart"
        raise ScanError(path, problem, remedy)


def distance(first: NDArray, second: NDArray, shape: Sequence[int]) -> float:
    """How far apart two affines put a voxel of a volume, at the most, mm."""
    corners = np.array(np.meshgrid(*([0, length - 1] for length in shape), [1])).reshape(4, -1)
    return float(np.linalg.norm(((first - second) @ corners)[:3], axis=0).max())


def statistics_of(voxels: NDArray) -> dict[str, float]:
    """Least, largest, mean and deviation of the intensities, and percentiles."""
    step = max(1, voxels.size // SAMPLE)
    sample = np.percentile(voxels.ravel()[::step], PERCENTILES)
    exact = {
        "min": voxels.min(),
        "max": voxels.max(),
        "mean": voxels.mean(dtype=np.float64),
        "std": voxels.std(dtype=np.float64),
    }
    percentiles = {f"p{one}": value for one, value in zip(PERCENTILES, sample, strict=True)}
    return {name: float(f"{value:.6g}") for name, value in (exact | percentiles).items()}
