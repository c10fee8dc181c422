"""Which files are scans, which of them belong together, and what their results are called."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.data import DataError
from src.data.checks import check_intensities
from src.data.scans import Placement, is_scan, read_scan, scan_stem

RESULTS = ("_dseg", "_probabilities", "_mask", "_label", "_labels")
"""Endings of files beside scans that are no scans."""


@dataclass(frozen=True)
class ScanFiles:
    """The files of one scan.

    Attributes:
        name: What it is called in tables: its path in the input folder, without its ending.
        files: One a channel, in the model's order.
    """

    name: str
    files: tuple[Path, ...]


def find_scans(inputs: Sequence[Path], channels: Sequence[str]) -> list[ScanFiles]:
    """The scans that are asked for: those in a folder, or one scan's file or files.

    In a folder and its subfolders, files whose names end in ``_<channel>`` belong to one scan. If
    the model takes one channel and no file is named so, every image that is not called a label map
    is a scan.

    Args:
        inputs: One folder; or the files of one scan, in the order of the channels.
        channels: Names of the model's channels.

    Raises:
        DataError: A path is missing, no scan is found, or files are missing or too many.
    """
    for path in inputs:
        if not path.exists():
            raise DataError(f"input {path} is missing")
    if len(inputs) == 1 and inputs[0].is_dir():
        return scans_in(inputs[0], channels)
    if folders := [path for path in inputs if path.is_dir()]:
        raise DataError(f"input must be one folder, or the files of one scan, got {folders[0]} too")
    if len(inputs) != len(channels):
        raise DataError(
            f"input must be a file for each of {', '.join(channels)}: "
            f"input=[{','.join(f'{channel}.nii.gz' for channel in channels)}], got {len(inputs)}"
        )
    name = scan_stem(inputs[0]).removesuffix(f"_{channels[0]}")
    return [ScanFiles(name, tuple(inputs))]


def scans_in(folder: Path, channels: Sequence[str]) -> list[ScanFiles]:
    """The scans in a folder and its subfolders, ordered by name.

    Raises:
        DataError: There are none, a channel's file is missing, or two would have one name.
    """
    images = sorted(path for path in folder.rglob("*") if is_image(path))
    by_channel = [
        by_name([path for path in images if ends_in(path, channel)], folder, f"_{channel}")
        for channel in channels
    ]
    names = sorted(set().union(*by_channel))
    if not names and len(channels) == 1:
        scans = [path for path in images if not scan_stem(path).endswith(RESULTS)]
        by_channel = [by_name(scans, folder, "")]
        names = sorted(by_channel[0])
    if not names:
        wanted = " ".join(f"*_{channel}.nii.gz" for channel in channels)
        raise DataError(f"input {folder} holds no scan: expected files named {wanted}")
    for name in names:
        for channel, files in zip(channels, by_channel, strict=True):
            if name not in files:
                raise DataError(f"{folder / name} has no image of the channel {channel}")
    return [ScanFiles(name, tuple(files[name] for files in by_channel)) for name in names]


def by_name(paths: Iterable[Path], folder: Path, suffix: str) -> dict[str, Path]:
    """Paths by what they are called in the folder, without their ending and without a suffix.

    Raises:
        DataError: Two have one name.
    """
    named: dict[str, Path] = {}
    for path in paths:
        bare = path.relative_to(folder).with_name(scan_stem(path).removesuffix(suffix))
        name = bare.as_posix()
        if name in named:
            raise DataError(f"{named[name]} and {path} must differ in more than their ending")
        named[name] = path
    return named


def is_image(path: Path) -> bool:
    """Return whether a file's name is that of a scan, and not hidden."""
    return is_scan(path) and not path.name.startswith(".")


def ends_in(path: Path, channel: str) -> bool:
    """Return whether a file's name without its ending ends in a channel's."""
    return scan_stem(path).endswith(f"_{channel}")


@dataclass(frozen=True)
class Images:
    """The images of a scan (I, D, H, W) float32, and where they lie."""

    voxels: Tensor
    placement: Placement

    @property
    def affine(self) -> NDArray[np.float64]:
        """(4, 4), voxel index to world millimetres (RAS+)."""
        return self.placement.affine

    @property
    def doubts(self) -> list[str]:
        """What makes it uncertain where the voxels lie."""
        place = self.placement
        if not place.oriented:
            return ["its header does not know left from right"]
        if place.qform is None or place.sform is None:
            return []
        apart = np.abs(place.qform - place.sform).max()
        return [f"qform and sform differ by {apart:.3g} mm; used the sform"] if apart > 0.1 else []


def read_images(files: Sequence[Path]) -> Images:
    """The images of one scan, checked.

    Raises:
        DataError: A file cannot be used, or they do not share one grid.
    """
    voxels: list[NDArray] = []
    first: Placement | None = None
    for path in files:
        scan = read_scan(path)
        first = first or scan.placement
        check_intensities(path, scan.voxels)
        if voxels and scan.voxels.shape != voxels[0].shape:
            raise DataError(
                f"{path} must have the shape of {files[0].name}, {voxels[0].shape}, "
                f"got {scan.voxels.shape}"
            )
        if not (apart := np.abs(scan.affine - first.affine).max()) < 1e-3:
            raise DataError(
                f"{path} and {files[0].name} must share an affine, off by {apart:.3g} mm"
            )
        voxels.append(scan.voxels.astype(np.float32))
    assert first is not None
    return Images(torch.from_numpy(np.stack(voxels)), first)
