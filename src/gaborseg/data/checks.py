"""What every case must fulfil before anything is trained on it."""

import logging
from functools import partial
from numbers import Integral
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from gaborseg.data.cache import PreparedCase, locked, prepared_case, zscore
from gaborseg.data.cases import Case, Dataset
from gaborseg.data.folder import DESCRIPTION, MAX_STRUCTURES
from gaborseg.data.parallel import map_in_processes
from gaborseg.data.splits import PARTS, Split
from gaborseg.machine import remove_partials
from gaborseg.scans import DataError, ScanError, read_scan, voxel_sides

log = logging.getLogger(__name__)

MOST_UNEVEN = 1.01
"""The longest side of a voxel over the shortest that still counts as a cube."""

_LARGEST_ID = 2**53
"""Of a label map: above, float64 knows no difference between a number and the next."""
_ROUNDING = 1e-3
"""Labels that are stored scaled may differ by this from whole numbers."""


def check_whole(name: str, value: object, least: int = 0) -> None:
    """Check that an argument is a whole number of at least so much.

    Raises:
        ValueError: It is not.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value}")


def check_intensities(path: Path, voxels: NDArray) -> None:
    """Check that the voxels of an image are finite and differ, in float32 as they will be used.

    Raises:
        ScanError: They do not.
    """
    with np.errstate(over="ignore"):
        used = voxels.astype(np.float32)
    if not np.isfinite(used).all():
        count = np.sum(~np.isfinite(voxels))
        beyond = np.sum(~np.isfinite(used)) - count
        problem = f"must be finite, got {count} NaN or Inf"
        if beyond:
            problem += f" and {beyond} beyond the range of float32"
        raise ScanError(path, problem, "find out where they come from; replace them")
    if used.min() == used.max():
        problem = f"must not be constant, got {voxels.min()} in every voxel"
        raise ScanError(path, problem, "copy or export the file again")


def whole_numbers(path: Path, voxels: NDArray) -> NDArray[np.integer]:
    """The voxels of a label map as integers; the rounding of a header's scale is undone.

    Raises:
        ScanError: They are no whole numbers, or some are so large that others may be taken for
            them.
    """
    if voxels.dtype.kind in "iu":
        _check_range(path, voxels)
        return voxels
    rounded = np.round(voxels)
    whole = np.abs(voxels - rounded) <= _ROUNDING
    if not whole.all():
        problem = f"must hold integers, got {voxels[~whole][0]}"
        raise ScanError(path, problem, "make it anew with nearest-neighbour interpolation")
    _check_range(path, rounded)
    return rounded.astype(np.int64)


def _check_range(path: Path, labels: NDArray) -> None:
    """Check that labels of any two types can be compared: that is done in float64.

    Raises:
        ScanError: One is too large.
    """
    for extreme in (labels.min().item(), labels.max().item()):
        if abs(extreme) > _LARGEST_ID:
            problem = f"must hold labels up to 2^53, got {extreme:g}"
            raise ScanError(path, problem, "number its structures anew")


def _checked_image(path: Path) -> tuple[NDArray[np.float32], NDArray]:
    """The z-scored image and its affine.

    Raises:
        DataError: It cannot be read, holds NaN or infinity, or is constant.
    """
    scan = read_scan(path)
    check_intensities(path, scan.voxels)
    return zscore(scan.voxels), scan.affine


def _checked_label(
    path: Path, num_structures: int, ignore: int | None
) -> tuple[NDArray[np.uint8], NDArray]:
    """The label map and its affine.

    Raises:
        DataError: It cannot be read, or holds something else than the integers 0..n and ``ignore``.
    """
    scan = read_scan(path)
    labels = whole_numbers(path, scan.voxels)
    values = np.unique(labels)
    unknown = values[(values < 0) | (values > num_structures)]
    if unknown.size and (unknown := unknown[unknown != ignore]).size:
        also = "" if ignore is None else f" and {ignore}"
        raise DataError(f"{path} must hold labels 0..{num_structures}{also}, got {unknown[0]:g}")
    return labels.astype(np.uint8), scan.affine


def _check_orientation(path: Path, affine: NDArray) -> None:
    """Check that a scan's axes run towards right, anterior, superior: those of prepared scans do.

    Raises:
        ScanError: They do not.
    """
    axes = "".join(nib.orientations.aff2axcodes(affine))
    if axes != "RAS":
        problem = f"must have its axes towards right, anterior, superior (RAS), got {axes}"
        raise ScanError(
            path, f"{problem}: prepare the data with gaborseg prepare", "use gaborseg prepare"
        )


def _checked_case(case: Case, num_structures: int, ignore: int | None = None) -> dict[str, NDArray]:
    """The prepared arrays of a case: image (C, *S), label (*S), affine (4, 4).

    Args:
        case: Its files.
        num_structures: n; labels are 0..n.
        ignore: Another label that voxels may have, that of voxels without a label.

    Raises:
        DataError: A file is unfit, the files of the case do not share one grid, or it is turned.
    """
    label, affine = _checked_label(case.label, num_structures, ignore)
    _check_orientation(case.label, affine)
    channels = []
    for path in case.images:
        image, image_affine = _checked_image(path)
        if image.shape != label.shape:
            raise DataError(
                f"{path} and its label map must share a shape, got {image.shape} and {label.shape}"
            )
        difference = np.abs(image_affine - affine).max()
        if not difference < 1e-3:
            raise DataError(
                f"{path} and its label map must share an affine, they differ by {difference:.3g} mm"
            )
        channels.append(image)
    return {"image": np.stack(channels), "label": label, "affine": affine}


def check_ignored_label(ignore: int | None, num_structures: int) -> None:
    """Check that the label of voxels without a label is that of nothing else.

    Raises:
        ValueError: It is.
    """
    if ignore is not None and ignore not in range(num_structures + 1, MAX_STRUCTURES + 1):
        raise ValueError(
            f"ignore must be a label from {num_structures + 1} to {MAX_STRUCTURES}, that of no "
            f"structure, got {ignore}"
        )


def check_common_shape(dataset: Dataset, cases: tuple[PreparedCase, ...]) -> None:
    """Whole volumes are stacked into batches: all must have the shape of the first.

    Raises:
        DataError: One has another shape.
    """
    shapes = [case.read("label").shape for case in cases]
    problems = [
        f"{case.images[0]} must have the shape of {dataset.subjects[0]}, {shapes[0]}, got {shape}"
        for case, shape in zip(dataset.cases, shapes, strict=True)
        if shape != shapes[0]
    ]
    if problems:
        raise DataError.first_of(problems)


def check_parts(dataset: Dataset, split: Split, cases: tuple[PreparedCase, ...]) -> None:
    """Every part of a split needs a structure to learn, to choose the best epoch by, and to score.

    Raises:
        DataError: All label maps of a part are empty.
    """
    labels = dict(zip(dataset.subjects, cases, strict=True))
    for part in PARTS:
        maps = (labels[subject].read("label") for subject in split.part(part))
        if not any(((label >= 1) & (label <= len(dataset.structures))).any() for label in maps):
            raise DataError(
                f"{dataset.root}: {part} must hold a scan with a structure; choose another split=, "
                "or the subjects with data.split_file="
            )


def check_unlabelled(dataset: Dataset, split: Split, cases: tuple[PreparedCase, ...]) -> None:
    """Check the structures that nobody has looked for in some scans.

    Raises:
        DataError: A label map has one of them after all, or no training case is left to learn a
            structure from.
    """
    for case, prepared in zip(dataset.cases, cases, strict=True):
        found = set(np.unique(prepared.read("label")).tolist()) if case.unlabelled else set()
        for label in found.intersection(case.unlabelled):
            raise DataError(
                f"{case.label} must not hold {dataset.structures[label - 1]}, which {DESCRIPTION} "
                "says is unlabelled in it"
            )
    trained = [case for case in dataset.cases if case.subject in split.train]
    for label, name in enumerate(dataset.structures, start=1):
        if all(label in case.unlabelled for case in trained):
            raise DataError(
                f"{dataset.root}: train must hold a scan in which {name} is labelled; choose "
                "another split=, or the subjects with data.split_file="
            )


def note_uneven_voxels(dataset: Dataset, cases: tuple[PreparedCase, ...]) -> None:
    """Log that new scans cannot be segmented by what is trained here, if voxels are no cubes."""
    for subject, case in zip(dataset.subjects, cases, strict=True):
        sides = voxel_sides(case.read("affine"))
        if sides.max() > MOST_UNEVEN * sides.min():
            log.warning(
                "note: voxels of %s are no cubes, %s mm: a network can be trained and scored on "
                "them, but gaborseg predict will refuse it; gaborseg prepare makes them cubes",
                subject,
                " x ".join(f"{side:.3g}" for side in sides),
            )
            return


def _check_and_store(
    cache: Path, num_structures: int, ignore: int | None, case: Case
) -> str | None:
    """Check a case and store its arrays; returns what is wrong with it, or None."""
    try:
        arrays = _checked_case(case, num_structures, ignore)
    except DataError as error:
        return str(error)
    prepared_case(cache, case, num_structures, ignore).write(**arrays)
    return None


def fill_cache(
    cache: Path, dataset: Dataset, ignore: int | None = None
) -> tuple[PreparedCase, ...]:
    """The prepared cases of a data set; those that are not in the cache are checked and stored.

    Args:
        cache: Where they are kept.
        dataset: What they are of.
        ignore: Label of voxels that have none, which label maps may hold too.

    Raises:
        DataError: A case is unfit; all unfit ones are listed.
    """
    num_structures = len(dataset.structures)
    entries = tuple(prepared_case(cache, case, num_structures, ignore) for case in dataset.cases)
    if all(entry.exists for entry in entries):
        return entries
    with locked(cache / "prepared", "preparation"):
        remove_partials(cache / "prepared")
        for entry in entries:
            entry.discard_damaged()
        pairs = zip(dataset.cases, entries, strict=True)
        problems = map_in_processes(
            partial(_check_and_store, cache, num_structures, ignore),
            [case for case, entry in pairs if not entry.exists],
            title=f"Checking and preparing {dataset.name}",
        )
    if found := [problem for problem in problems if problem]:
        raise DataError.first_of(found)
    return entries
