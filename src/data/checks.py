"""What every case must fulfil before anything is trained on it."""

import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError, SpatialImage
from numpy.typing import NDArray

from src.data.cache import zscore
from src.data.cases import Case, DataError

MAX_VOXELS = 1024**3
"""More than this in one volume is taken for a damaged header: nothing is allocated."""


def read_volume(path: Path) -> tuple[NDArray, NDArray]:
    """The voxels (D, H, W) of an image file, and its affine (4, 4).

    Raises:
        DataError: The file cannot be read, is truncated, or is not a volume of numbers.
    """
    try:
        volume: Any = nib.load(path)
        if problem := header_problem(volume):
            raise DataError(f"{path} {problem}")
        return np.asanyarray(volume.dataobj), np.asarray(volume.affine, dtype=np.float64)
    except DataError:
        raise
    except (ImageFileError, HeaderDataError, OSError, EOFError, zlib.error, ValueError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{path} is truncated or not a readable image: {reason}") from error


def header_problem(volume: Any) -> str | None:
    """What is wrong with a volume whose voxels have not been read yet, or None."""
    if not isinstance(volume, SpatialImage) or volume.affine is None:
        return f"must be an image with an affine, got {type(volume).__name__}"
    if len(volume.shape) != 3:
        return f"must have 3 dimensions, got {len(volume.shape)}"
    if not 0 < np.prod(volume.shape, dtype=float) <= MAX_VOXELS:
        return f"must have 1 to {MAX_VOXELS} voxels, got shape {volume.shape}"
    if volume.get_data_dtype().kind not in "iuf":
        return f"must hold real numbers, got {volume.get_data_dtype()}"
    return None


def checked_image(path: Path) -> tuple[NDArray[np.float32], NDArray]:
    """The z-scored image and its affine.

    Raises:
        DataError: It cannot be read, holds NaN or infinity, or is constant.
    """
    voxels, affine = read_volume(path)
    if not np.isfinite(voxels).all():
        raise DataError(f"{path} must be finite, got {np.sum(~np.isfinite(voxels))} NaN or Inf")
    if voxels.min() == voxels.max():
        raise DataError(f"{path} must not be constant, got {voxels.min()} in every voxel")
    return zscore(voxels), affine


def checked_label(path: Path, num_structures: int) -> tuple[NDArray[np.uint8], NDArray]:
    """The label map and its affine.

    Raises:
        DataError: It cannot be read, or holds something else than the integers 0..n.
    """
    voxels, affine = read_volume(path)
    values = np.unique(voxels)
    fractions = values[~(values == np.round(values))]
    if fractions.size:
        raise DataError(f"{path} must hold integers, got {fractions[0]}")
    unknown = values[(values < 0) | (values > num_structures)]
    if unknown.size:
        raise DataError(f"{path} must hold labels 0..{num_structures}, got {unknown[0]:g}")
    return voxels.astype(np.uint8), affine


def checked_case(case: Case, num_structures: int) -> dict[str, NDArray]:
    """The prepared arrays of a case: image (C, *S), label (*S), affine (4, 4).

    Raises:
        DataError: A file is unfit, or the files of the case do not share one grid.
    """
    label, affine = checked_label(case.label, num_structures)
    channels = []
    for path in case.images:
        image, image_affine = checked_image(path)
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
