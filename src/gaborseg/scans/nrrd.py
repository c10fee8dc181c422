"""NRRD files, by SimpleITK: those that hold their voxels themselves."""

import re
from pathlib import Path

import numpy as np
import SimpleITK

from gaborseg.scans.header import Header, Placement
from gaborseg.scans.problems import ScanError

_LONGEST_NRRD_HEADER = 2**20


_DETACHED = re.compile(rb"(^|[\r\n])\s*data\s*file\s*:", re.IGNORECASE)


_WORLD_OF_ITK = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From ITK's left, posterior, superior to right, anterior, superior."""


def open_nrrd(path: Path) -> Header:
    """The header of an NRRD file, its voxels in the same file."""
    _check_attached(path)
    return header_by_itk(path, "NrrdImageIO")


def header_by_itk(path: Path, image_io: str) -> Header:
    """What one of ITK's readers says about a file that was checked."""
    reader = SimpleITK.ImageFileReader()
    reader.GlobalWarningDisplayOff()
    reader.SetFileName(str(path))
    reader.SetImageIO(image_io)
    reader.ReadImageInformation()
    parts = reader.GetNumberOfComponents()
    spacing = np.array(reader.GetSpacing()[:3])
    rank = len(reader.GetSize())
    affine = np.eye(4)
    directions = np.array(reader.GetDirection()).reshape(rank, rank)[:3, :3]
    affine[: len(spacing), : len(spacing)] = directions * spacing
    affine[: len(spacing), 3] = reader.GetOrigin()[:3]
    stored = SimpleITK.GetPixelIDValueAsString(reader.GetPixelID())
    return Header(
        path=path,
        shape=(*reader.GetSize(), *([parts] if parts > 1 else [])),
        stored=stored,
        real=stored.endswith(("integer", "float")) and stored[0].isdigit(),
        placement=Placement(_WORLD_OF_ITK @ affine, tuple(spacing.tolist())),
        load=lambda: SimpleITK.GetArrayFromImage(reader.Execute()).T,
    )


def _check_attached(path: Path) -> None:
    """Check that an NRRD file holds its voxels itself, and names no other file to read them from.

    Raises:
        ScanError: It names one, or its header has no end within reach.
    """
    with path.open("rb") as file:
        start = file.read(_LONGEST_NRRD_HEADER)
    if _DETACHED.search(start):
        raise ScanError(path, "must hold its voxels itself", "save it as one attached file")
    if len(start) == _LONGEST_NRRD_HEADER and not re.search(rb"\r?\n\r?\n", start):
        problem = f"must have a header of at most {_LONGEST_NRRD_HEADER} bytes"
        raise ScanError(path, problem, "save it without its comments")
