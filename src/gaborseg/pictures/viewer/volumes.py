"""Scans and label maps as the viewer reads them: small, and plain text."""

import base64
import math
import zlib
from collections.abc import Mapping
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from gaborseg.pictures.slices import Window
from gaborseg.scans import voxel_sides

MOST_VOXELS = 160
"""Voxels along a side of what is shown, at most, unless fewer are wanted."""
_LONGEST_RUN = 255


def viewer_case(
    name: str,
    image: NDArray,
    maps: Mapping[str, NDArray[np.integer]],
    affine: NDArray[np.floating],
    *,
    truth: str | None = None,
    notes: Mapping[str, str] | None = None,
    most_voxels: int = MOST_VOXELS,
) -> dict[str, Any]:
    """Return a scan with its label maps for the viewer, as plain values for JSON.

    The volumes are turned to right, anterior, superior. Grey levels have 8 bit, from the scan's
    darkest 1 % to its brightest 0.5 %; label maps are lists of runs.

    Args:
        name: Of the subject or scan.
        image: Scan, (X, Y, Z).
        maps: Label maps by name, (X, Y, Z) of 0 ... 255.
        affine: Voxel index to world millimetres (RAS+), (4, 4).
        truth: Which of the maps the others are compared with, if one is the truth.
        notes: What is said of a map below its name, such as its Dice.
        most_voxels: Along a side; of larger volumes every second, third ... voxel is taken.

    Raises:
        ValueError: A map has not the image's shape, or a label that is no 8-bit number.
    """
    _check(image, maps)
    orientation = nib.orientations.io_orientation(affine)
    step = math.ceil(max(image.shape) / most_voxels)
    thin = (slice(step // 2, None, step),) * 3

    def upright(volume: NDArray) -> NDArray:
        turned: NDArray = nib.orientations.apply_orientation(volume, orientation)
        return turned[thin]

    grey = np.rint(255 * Window.of(image).grey(upright(image))).astype(np.uint8)
    sides = voxel_sides(affine)[np.argsort(orientation[:, 0])]
    return {
        "name": name,
        "shape": list(grey.shape),
        "spacing": [round(float(side) * step, 4) for side in sides],
        "step": step,
        "truth": truth,
        "scan": _packed(_differences(grey)),
        "maps": [
            {
                "name": key,
                "note": (notes or {}).get(key, ""),
                "runs": _packed(_runs(upright(labels).astype(np.uint8))),
            }
            for key, labels in maps.items()
        ],
    }


def _check(image: NDArray, maps: Mapping[str, NDArray[np.integer]]) -> None:
    for name, labels in maps.items():
        if labels.shape != image.shape:
            raise ValueError(
                f"{name} must have the image's shape {image.shape}, got {labels.shape}"
            )
        if labels.size and not 0 <= labels.min() <= labels.max() <= 255:
            raise ValueError(f"{name} must hold labels 0..255, got {labels.min()}..{labels.max()}")


def _runs(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return label and length of each run of equal labels, (R, 2); none is longer than 255.

    The first axis of the volume runs fastest.

    >>> _runs(np.array([[[3]], [[3]], [[0]]], np.uint8)).tolist()
    [[3, 2], [0, 1]]
    """
    flat = labels.ravel(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    starts = np.union1d(changes, np.arange(0, len(flat), _LONGEST_RUN)).astype(np.int64)
    lengths = np.diff(starts, append=len(flat))
    return np.column_stack([flat[starts], lengths]).astype(np.uint8)


def _differences(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return each voxel minus the one before, modulo 256: smaller once it is compressed."""
    flat = grey.ravel(order="F")
    return np.diff(flat, prepend=np.uint8(0))


def _packed(values: NDArray[np.uint8]) -> str:
    return base64.b64encode(zlib.compress(values.tobytes(), 9)).decode("ascii")
