"""How the files of a scan are read: one volume a file, or several; a label map, or masks."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gaborseg.data import Case, whole_numbers
from gaborseg.preparation.masks import mask_files, merge_masks
from gaborseg.scans import (
    SAME_PLACE,
    Scan,
    ScanError,
    Window,
    check_same_grid,
    distance,
    files_of_scan,
    read_placed,
    read_placed_volumes,
)

GEOMETRIES = ("agree", "of_image")
OVERLAPS = ("refuse", "last")


@dataclass(frozen=True)
class Reading:
    """What a user says about all files.

    Attributes:
        forms: Which affine to use where a NIfTI header gives two different ones: ``sform``,
            ``qform``, or ``agree`` to refuse the file.
        geometry: Whether headers of label maps must ``agree`` with that of the image, or are
            ignored and lie where the first image lies, ``of_image``.
        volumes: Which volumes of a 4-D image are the channels; nothing if each has a file.
        num_volumes: How many volumes an image has.
        masks: Structures whose masks make the label map, by the names of their files; they become
            the ids 1, 2, ...; nothing if there are label maps.
        overlap: Whether a voxel of several masks is a mistake, ``refuse``, or that of the
            ``last`` of them.
        window: What the intensities of all images are clipped to before anything else; None: they
            are not.
    """

    forms: str = "agree"
    geometry: str = "agree"
    volumes: tuple[int, ...] = ()
    num_volumes: int = 1
    masks: tuple[str, ...] = ()
    overlap: str = "refuse"
    window: Window | None = None


@dataclass(frozen=True)
class Labels:
    """A label map, or the masks of a scan as one.

    Attributes:
        path: Its file or folder.
        ids: (D, H, W), whole numbers.
        scan: Its file, or that of the first mask.
        moved_mm: How far its header was from the image's, if that was ignored.
        missing: Structures without a mask.
        overlap: Voxels that several masks claim.
    """

    path: Path
    ids: NDArray[np.integer]
    scan: Scan
    moved_mm: float = 0.0
    missing: tuple[str, ...] = ()
    overlap: int = 0


def files_of(case: Case) -> list[Path]:
    """All files of a case that are read, images first."""
    label = mask_files(case.label).values() if case.label.is_dir() else [case.label]
    return [part for path in (*case.images, *label) for part in files_of_scan(path)]


def read_images(case: Case, reading: Reading) -> Iterator[tuple[Path, Scan]]:
    """The image of each channel of a case, in order, with its file.

    Raises:
        ScanError: One cannot be used.
    """
    for path in case.images:
        volumes = read_placed_volumes(path, reading.forms, reading.num_volumes)
        yield from ((path, volumes[one]) for one in reading.volumes or [0])


def read_labels(case: Case, reading: Reading) -> Labels:
    """The label map of a case.

    Raises:
        ScanError: It cannot be used.
    """
    free = reading.geometry == "of_image"
    forms = "sform" if free and reading.forms == "agree" else reading.forms
    if not reading.masks:
        scan = read_placed(case.label, forms)
        return Labels(case.label, whole_numbers(case.label, scan.voxels), scan)
    merged = merge_masks(case.label, reading.masks, forms, any_place=free)
    if merged.clash and reading.overlap == "refuse":
        first, second, voxels = merged.clash
        problem = f"holds masks that overlap: {first} and {second}, in {voxels} voxels"
        raise ScanError(
            case.label, problem, "mend them; or let the later one of structures win: overlap=last"
        )
    return Labels(
        case.label, merged.ids, merged.scan, missing=merged.missing, overlap=merged.overlap
    )


def placed_labels(labels: Labels, path: Path, image: Scan, geometry: str) -> Labels:
    """The label map on the grid of the first image, whose header it agrees with or takes.

    Raises:
        ScanError: It has another shape, or lies elsewhere and is not to be moved.
    """
    same_shape = labels.ids.shape == image.voxels.shape
    apart = distance(labels.scan.affine, image.affine, image.voxels.shape) if same_shape else 0.0
    limit = SAME_PLACE * min(labels.scan.placement.spacing)
    if geometry == "of_image" and apart > limit:
        return replace(labels, moved_mm=round(apart, 3))
    try:
        check_same_grid(labels.path, labels.scan, path, image)
    except ScanError as error:
        if not same_shape:
            raise
        remedy = f"{error.remedy}; if its voxels are right: geometry=of_image"
        raise ScanError(error.path, error.problem, remedy) from error
    return labels
