"""Where the voxels of a scan lie, and whether two scans share their grid."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gaborseg.scans.files import Scan, read_volumes
from gaborseg.scans.header import Placement
from gaborseg.scans.problems import ScanError

SAME_PLACE = 0.1
"""Of a voxel's shortest edge: two grids that differ by less anywhere are the same."""


FORMS = ("agree", "sform", "qform")


def read_placed(path: Path, forms: str) -> Scan:
    """A volume of several slices, placed by the chosen one of its header's affines.

    Raises:
        ScanError: It cannot be read or placed, or is a single slice.
    """
    (scan,) = read_placed_volumes(path, forms, 1)
    return scan


def read_placed_volumes(path: Path, forms: str, count: int) -> list[Scan]:
    """The volumes of a file of four dimensions, as ``read_placed`` gives one.

    Raises:
        ScanError: They cannot be read or placed, are single slices, or not so many.
    """
    scans = read_volumes(path, count)
    if min(scans[0].voxels.shape) < 2:
        problem = f"must have several slices, got shape {scans[0].voxels.shape}"
        raise ScanError(path, problem, "bring a whole volume")
    placement = _chosen_placement(path, scans[0], forms)
    return [Scan(scan.voxels, scan.stored, placement) for scan in scans]


def _chosen_placement(path: Path, scan: Scan, forms: str) -> Placement:
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
