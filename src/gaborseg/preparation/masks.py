"""One mask a structure, in a folder beside the images of a scan, merged into a label map.

As in TotalSegmentator's data set::

    s0000/ct.nii.gz    s0000/segmentations/liver.nii.gz    s0000/segmentations/spleen.nii.gz

The structures are called as their files are. Their ids are 1, 2, ... in the order of the names.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gaborseg.data import Case, is_name, person_of, whole_numbers
from gaborseg.preparation.discovery import (
    Found,
    subject_id,
    unique,
    with_files_of_their_own,
)
from gaborseg.scans import (
    DataError,
    Named,
    Problem,
    Scan,
    ScanError,
    check_same_grid,
    named_file,
    read_placed,
    scan_files,
    stem,
)


@dataclass(frozen=True)
class _MergedMasks:
    """The masks of a scan as one map.

    Attributes:
        ids: (D, H, W) uint8, the number of the structure from 1 on, 0 for none.
        scan: The first mask.
        missing: Structures without a mask.
        clash: Two structures that share voxels, and how many; None if no two do.
        overlap: Voxels that several masks claim.
    """

    ids: NDArray[np.uint8]
    scan: Scan
    missing: tuple[str, ...] = ()
    clash: tuple[str, str, int] | None = None
    overlap: int = 0


def mask_files(folder: Path) -> dict[str, Path]:
    """The masks in a folder by the names of their structures, in order.

    Raises:
        DataError: Two are of one structure.
    """
    found: dict[str, Path] = {}
    for path in scan_files(folder, None, []):
        if path.parent == folder and found.setdefault(stem(path), path) != path:
            raise DataError(f"{path} and {found[stem(path)]} are both masks of {stem(path)}")
    return found


def discover_masks(
    root: Path, folder: str, channels: Sequence[str] = (), exclude: Path | None = None
) -> Found:
    """The cases of a tree in which each scan's folder holds its images, and a folder of masks.

    Args:
        root: Where to search.
        folder: Name of the folders of masks.
        channels: Names or ends of the names of the images; if none, the only one that there is.
        exclude: A folder that is not searched.

    Raises:
        DataError: There is nothing to be found, or it must be said which images to take.
    """
    problems: list[Problem] = []
    images: dict[Path, list[Named]] = defaultdict(list)
    masks: dict[Path, list[Path]] = defaultdict(list)
    for path in scan_files(root, exclude, problems):
        if path.parent.name == folder:
            masks[path.parent.parent].append(path)
        else:
            images[path.parent].append(named_file(path, channels))
    if not masks:
        raise DataError(f"{root} holds no masks: expected files like case/{folder}/liver.nii.gz")
    roles = tuple(channels) or _only_role(images, masks)
    cases = []
    for place in sorted({*masks, *(p for p in images if any(i.role in roles for i in images[p]))}):
        case = _case(root, place, images[place], roles, folder)
        if isinstance(case, Case) and place in masks:
            cases.append(case)
            continue
        missing = case if isinstance(case, str) else f"folder {folder} of masks"
        subject = _subject(root, place)
        problems.append(
            Problem(str(place), f"has no {missing}", f"add it, or leave {subject} out", subject)
        )
    return _with_own_masks(unique(Found(tuple(cases), roles, tuple(problems))), masks)


def _only_role(images: dict[Path, list[Named]], masks: dict[Path, list[Path]]) -> tuple[str]:
    """What the images beside masks are called.

    Raises:
        DataError: There are none, or of several kinds.
    """
    roles = sorted({image.role for place in masks for image in images.get(place, [])})
    if not roles:
        raise DataError(f"{next(iter(masks))} holds no image beside its masks, such as ct.nii.gz")
    if len(roles) > 1:
        raise DataError(
            f"channels must be chosen, as in channels=[{roles[0]}]: there are {', '.join(roles)}"
        )
    return (roles[0],)


def _case(
    root: Path, place: Path, images: Sequence[Named], roles: Sequence[str], folder: str
) -> Case | str:
    """The case of a folder; or what it lacks."""
    paths = []
    for role in roles:
        found = [image.path for image in images if image.role == role]
        if len(found) != 1:
            return f"single {role} image" if found else f"{role} image"
        paths.append(found[0])
    subject = _subject(root, place)
    return Case(subject, tuple(paths), place / folder, person_of(subject))


def _subject(root: Path, place: Path) -> str:
    """The id of the scan of a folder."""
    return subject_id(place.relative_to(root).as_posix() if place != root else root.name)


def _with_own_masks(found: Found, masks: dict[Path, list[Path]]) -> Found:
    """The cases none of whose images or masks is also another person's."""
    every = {
        case.subject: replace(case, images=(*case.images, *masks[case.label.parent]))
        for case in found.cases
    }
    kept = with_files_of_their_own(replace(found, cases=tuple(every.values())))
    subjects = {case.subject for case in kept.cases}
    cases = tuple(case for case in found.cases if case.subject in subjects)
    return replace(kept, cases=cases)


def mask_names(cases: Sequence[Case], structures: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of the structures that have masks, sorted; or those chosen, in their order.

    Raises:
        DataError: One has no mask in any scan, or its file has a name that is none.
    """
    found = sorted({name for case in cases for name in mask_files(case.label)})
    if strange := [name for name in found if not is_name(name) or not any(map(str.isalpha, name))]:
        raise DataError(f"masks must be called like structures, got {strange[0][:80]!r}")
    if absent := [name for name in structures if name not in found]:
        raise DataError(
            f"structures must be names of masks, such as {', '.join(found[:3])}, got {absent[0]}"
        )
    if len(set(structures)) < len(structures):
        raise DataError(f"structures must differ from one another, got {', '.join(structures)}")
    return tuple(structures) or tuple(found)


def merge_masks(
    folder: Path, names: Sequence[str], forms: str, *, any_place: bool = False
) -> _MergedMasks:
    """The masks of a scan as one map; where they overlap, the last one.

    Args:
        folder: Where they are.
        names: The structures, in order.
        forms: Which affine of a NIfTI header with two is used.
        any_place: Whether their headers may put them anywhere.

    Raises:
        ScanError: One cannot be read, is no mask, or lies on another grid; or there is none.
    """
    files = mask_files(folder)
    first: tuple[Path, Scan] | None = None
    ids, overlap = np.zeros(0, np.uint8), np.zeros(0, bool)
    clash = None
    for number, name in enumerate(names, start=1):
        if name not in files:
            continue
        scan = read_placed(files[name], forms)
        inside = _inside(files[name], scan)
        if first is None:
            first = files[name], scan
            ids, overlap = np.zeros(inside.shape, np.uint8), np.zeros(inside.shape, bool)
        placed = replace(scan, placement=first[1].placement) if any_place else scan
        check_same_grid(files[name], placed, *first)
        if (both := inside & (ids > 0)).any():
            other = int(ids[both][0])
            clash = clash or (names[other - 1], name, int((ids[both] == other).sum()))
            overlap |= both
        ids[inside] = number
    if first is None:
        raise ScanError(
            folder, "holds no mask of the structures", "add them; or leave the scan out"
        )
    missing = tuple(name for name in names if name not in files)
    return _MergedMasks(ids, first[1], missing, clash, int(overlap.sum()))


def _inside(path: Path, scan: Scan) -> NDArray[np.bool_]:
    """Where a mask is, (D, H, W).

    Raises:
        ScanError: It has several values beside 0, or fractions.
    """
    values = whole_numbers(path, scan.voxels)
    inside = values != 0
    if inside.any() and np.ptp(values[inside]):
        least, most = values[inside].min(), values[inside].max()
        problem = f"must be a mask, of one value beside 0, got {least} to {most}"
        raise ScanError(path, problem, "bring one mask for each structure; or label maps")
    return inside
