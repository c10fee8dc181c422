"""Which files are scans, which of them belong together, and what their results are called."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gaborseg.data import check_intensities
from gaborseg.machine import encodable
from gaborseg.scans import (
    LABEL_ROLES,
    SAME_PLACE,
    DataError,
    Named,
    Placement,
    Problem,
    Scan,
    check_same_grid,
    distance,
    files_of_scan,
    image_and_label_folders,
    named_file,
    read_placed,
    read_placed_volumes,
    scan_files,
    scan_stem,
    stem,
)

_NO_SCANS = (*LABEL_ROLES, "probabilities")
"""Roles of files beside scans that are no scans, unless the model has a channel of that name."""
_ALL_CHANNELS = "every channel"
"""Role of a 4-D file, whose volumes are the channels."""


@dataclass(frozen=True)
class ScanFiles:
    """The files of one scan.

    Attributes:
        name: What it is called in tables: its path in the input folder, without its ending, in
            UTF-8.
        files: One a channel, in the model's order.
        problem: Why it cannot be segmented, if the names of its files tell; it has none then.
    """

    name: str
    files: tuple[Path, ...] = ()
    problem: str = ""

    @property
    def contents(self) -> tuple[Path, ...]:
        """The files, and those beside them that hold the voxels of a header."""
        return tuple(part for path in self.files for part in files_of_scan(path))


def find_scans(
    inputs: Sequence[Path],
    channels: Sequence[str],
    *,
    in_one_file: bool = False,
    pattern: str | None = None,
) -> list[ScanFiles]:
    """The scans that are asked for: those in a folder, or one scan's file or files.

    A folder is arranged as for ``gaborseg prepare``, with or without label maps: files that end in
    ``_<channel>``, or are called so, are the images of a scan. If the model takes one channel and
    no file is named so, every image that is not called a label map is a scan.

    Args:
        inputs: One folder; or the files of one scan, in the order of the channels.
        channels: Names of the model's channels.
        in_one_file: Whether the model was trained on files that hold the channels of a scan as
            volumes; then each may be one here too.
        pattern: How the images in the folder are called, as for ``gaborseg prepare``; scans are
            then called as that calls them.

    Raises:
        DataError: A path is missing, no scan is found, files are too many or too few, or the
            pattern cannot be used.
    """
    for path in inputs:
        if not path.exists():
            raise DataError(f"input {path} is missing")
    if pattern is not None:
        if len(inputs) > 1 or not inputs[0].is_dir():
            raise DataError(f"input must be one folder for a pattern, got {inputs[0]}")
        return _scans_by(pattern, inputs[0], channels, in_one_file)
    if len(inputs) == 1 and inputs[0].is_dir():
        return _scans_in(inputs[0], channels, in_one_file)
    if folders := [path for path in inputs if path.is_dir()]:
        raise DataError(f"input must be one folder, or the files of one scan, got {folders[0]} too")
    if len(inputs) != len(channels) and not (in_one_file and len(inputs) == 1):
        raise DataError(
            f"input must be a file for each of {', '.join(channels)}: "
            f"input=[{','.join(f'{channel}.nii.gz' for channel in channels)}], got {len(inputs)}"
        )
    name = encodable(scan_stem(inputs[0]).removesuffix(f"_{channels[0]}"))
    return [ScanFiles(name, tuple(inputs))]


def _scans_in(folder: Path, channels: Sequence[str], in_one_file: bool) -> list[ScanFiles]:
    """The scans in a folder and its subfolders, ordered by name; also those that are incomplete.

    Raises:
        DataError: There are none.
    """
    shut: list[Problem] = []
    scans: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for image in _images_in(folder, channels, in_one_file, shut):
        name = encodable((image.path.parent.relative_to(folder) / image.scan).as_posix())
        scans[name][image.role].append(image.path)
    if not scans:
        wanted = " ".join(f"*_{channel}.nii.gz" for channel in channels)
        files = ",".join(f"{channel}.nii.gz" for channel in channels)
        raise DataError(
            f"input {folder} holds no scan: expected files named {wanted}; rename them, or name "
            f"the files of one scan: input=[{files}]"
        )
    return _in_order(folder, scans, shut, channels, in_one_file)


def _scans_by(
    pattern: str, folder: Path, channels: Sequence[str], in_one_file: bool
) -> list[ScanFiles]:
    """The scans in a folder whose images a pattern matches, ordered by name.

    Raises:
        DataError: There are none, or the pattern does not tell the channels apart.
    """
    from gaborseg.preparation import Pattern, files_by_pattern  # imports matplotlib

    told = Pattern("pattern", pattern, tuple(channels))
    if len(channels) > 1 and "channel" not in told.fields and not in_one_file:
        raise DataError(
            f"pattern must have {{channel}} for the {len(channels)} channels "
            f"{', '.join(channels)}, got {pattern}"
        )
    shut: list[Problem] = []
    only = _ALL_CHANNELS if in_one_file else channels[0]
    scans: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for image in files_by_pattern(folder, told, shut):
        scans[encodable(image.scan)][image.role or only].append(image.path)
    return _in_order(folder, scans, shut, channels, in_one_file)


def _in_order(
    folder: Path,
    scans: Mapping[str, Mapping[str, Sequence[Path]]],
    shut: Sequence[Problem],
    channels: Sequence[str],
    in_one_file: bool,
) -> list[ScanFiles]:
    """Scans from their images by channel, and folders that are shut, ordered by name."""
    found = [_scan_of(name, images, channels, in_one_file) for name, images in scans.items()]
    found += [ScanFiles(encodable(one.within(folder).file), problem=one.problem) for one in shut]
    return sorted(found, key=lambda scan: scan.name)


def _images_in(
    folder: Path, channels: Sequence[str], in_one_file: bool, shut: list[Problem]
) -> list[Named]:
    """The images of the channels in a folder, with what their scans are called where they lie.

    Files of several channels share what their names tell of the scan. Of a single channel each is a
    scan of its own, also where BIDS would tell no difference, and is called by its whole name.
    Folders that cannot be opened are added to ``shut``.
    """
    places = image_and_label_folders(folder)
    every = [
        named_file(path, (*channels, *_NO_SCANS))
        for path in scan_files(folder, None, shut)
        if places is None or places[1] not in path.parents
    ]
    named = [one for one in every if "derivatives" not in one.path.relative_to(folder).parts]
    images = [one for one in named if one.role in channels]
    images = images or [one for one in every if one.role in channels] or _numbered(named, channels)
    if len(channels) > 1 and (images or not in_one_file):
        return images
    if images:
        return [Named(one.path, _own_name(one), one.role) for one in images]
    others = [one.path for one in named if one.role not in _NO_SCANS]
    return [
        Named(path, stem(path), _ALL_CHANNELS if in_one_file else channels[0]) for path in others
    ]


def _own_name(image: Named) -> str:
    """The name of a file without ending and role; where nothing is left, its scan's."""
    name = stem(image.path).removesuffix(image.role).removesuffix("_").removesuffix("-")
    return name or image.scan


def _numbered(images: Sequence[Named], channels: Sequence[str]) -> list[Named]:
    """The images of several channels whose names tell the channel's place, as nnU-Net's: _0001."""
    numbers = {f"{place:04d}": channel for place, channel in enumerate(channels)}
    found = [replace(one, role=numbers[one.role]) for one in images if one.role in numbers]
    return found if len(channels) > 1 else []


def _scan_of(
    name: str, images: Mapping[str, Sequence[Path]], channels: Sequence[str], in_one_file: bool
) -> ScanFiles:
    """A scan from its images by channel, or from one of all; or what keeps it from being one."""
    if in_one_file and len(images.get(_ALL_CHANNELS, ())) == 1:
        return ScanFiles(name, tuple(images[_ALL_CHANNELS]))
    for channel in channels:
        files = images.get(channel, ())
        if len(files) != 1:
            listed = ", ".join(path.name for path in files) or "none"
            problem = f"must have one image of the channel {channel}, got {listed}"
            return ScanFiles(name, problem=problem)
    return ScanFiles(name, tuple(images[channel][0] for channel in channels))


@dataclass(frozen=True)
class Images:
    """The images of a scan.

    Attributes:
        voxels: (I, D, H, W) float32.
        placement: Where they lie.
        doubts: What makes that uncertain.
    """

    voxels: Tensor
    placement: Placement
    doubts: tuple[str, ...] = ()

    @property
    def affine(self) -> NDArray[np.float64]:
        """(4, 4), voxel index to world millimetres (RAS+)."""
        return self.placement.affine


def read_images(
    files: Sequence[Path],
    forms: str = "agree",
    volumes: Sequence[int] = (),
    num_volumes: int = 1,
) -> Images:
    """The images of one scan, checked; the first says where all of them lie.

    Args:
        files: One a channel; or one of all, if the model knows its volumes.
        forms: Which affine was used in training where a NIfTI header gives two: ``sform``,
            ``qform``, or ``agree`` if they were never different; then it is the sform.
        volumes: Which volumes of a 4-D file are the channels.
        num_volumes: How many volumes it has.

    Raises:
        DataError: A file cannot be used, or they do not share one grid.
    """
    scans: list[Scan] = []
    chosen = "sform" if forms == "agree" else forms
    if volumes and len(files) == 1:
        every = read_placed_volumes(files[0], chosen, num_volumes)
        read = ((files[0], every[one]) for one in volumes)
    else:
        read = ((path, read_placed(path, chosen)) for path in files)
    for path, scan in read:
        check_intensities(path, scan.voxels)
        scans.append(Scan(scan.voxels.astype(np.float32), scan.stored, scan.placement))
        check_same_grid(path, scan, files[0], scans[0])
    voxels = torch.from_numpy(np.stack([scan.voxels for scan in scans]))
    return Images(voxels, scans[0].placement, tuple(_doubts_about(scans[0], forms)))


def _doubts_about(scan: Scan, forms: str) -> list[str]:
    """What makes it uncertain where a scan lies."""
    place = scan.placement
    if not place.oriented:
        return ["its header does not know left from right"]
    if forms != "agree" or place.qform is None or place.sform is None:
        return []
    apart = distance(place.qform, place.sform, scan.voxels.shape)
    if apart <= SAME_PLACE * min(place.spacing):
        return []
    return [f"qform and sform differ by up to {apart:.3g} mm; used the sform"]
