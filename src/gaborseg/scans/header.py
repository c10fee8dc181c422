"""What a file says about itself, and where it puts its voxels."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Placement:
    """Where a header puts a scan.

    Attributes:
        affine: (4, 4), voxel index to world millimetres (RAS+), as it is used.
        spacing: Millimetres from voxel to voxel along each axis, as the header states them.
        qform, sform: The two affines of a NIfTI header that gives both, else None.
        oriented: Whether the header knows left from right.
    """

    affine: NDArray[np.float64]
    spacing: tuple[float, ...]
    qform: NDArray[np.float64] | None = None
    sform: NDArray[np.float64] | None = None
    oriented: bool = True


@dataclass(frozen=True)
class Header:
    """What a file says about itself, and how to read its voxels.

    Attributes:
        path: The file.
        shape: Voxels along each axis.
        stored: Type of the stored voxels, in words.
        real: Whether those are real numbers.
        placement: Where they lie.
        load: Reads the voxels.
        voxel_file: The file that holds the voxels, if it is another.
    """

    path: Path
    shape: tuple[int, ...]
    stored: str
    real: bool
    placement: Placement
    load: Callable[[], NDArray]
    voxel_file: Path | None = None

    @property
    def stored_bytes(self) -> int:
        """Size of the file that holds the voxels."""
        return (self.voxel_file or self.path).stat().st_size
