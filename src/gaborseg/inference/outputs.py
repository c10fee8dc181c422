"""What is written for a scan: label map, probabilities, viewer, each whole or not at all."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gaborseg.machine import encodable, whole_file, write_text
from gaborseg.scans import PreparedGrid, load_nibabel, to_native


def write_labels(path: Path, labels: Tensor, scan: Path, affine: NDArray) -> None:
    """Write a label map (D, H, W) with the shape, affine, header and units of a scan's file."""
    voxels = labels.numpy().astype(np.uint8)
    _save_image(path, like(scan, voxels, affine))


def write_probabilities(path: Path, scores: Tensor, grid: PreparedGrid, scan: Path) -> None:
    """Write scores (C, N, N, N), cut to 0..1, as one 4-D image in steps of 1/255.

    Label by label: the scores of all labels at the scan's size never exist in floating point.
    """
    volumes = np.empty((*grid.shape, len(scores)), np.uint8, order="F")
    for label, score in enumerate(scores):
        native = to_native(score, grid).clamp_(0, 1).mul_(255).round_()
        volumes[..., label] = native.to(torch.uint8).numpy()
    image = like(scan, volumes, grid.affine)
    image.header.set_slope_inter(1 / 255, 0)
    _save_image(path, image)


def write_viewer(
    path: Path, image: Tensor, labels: Tensor, affine: NDArray, structures: Sequence[str], name: str
) -> None:
    """Write an HTML file that shows a scan (D, H, W) and its label map in three planes."""
    from gaborseg.pictures import viewer_book, viewer_case, viewer_page  # slow to import

    name = encodable(name)
    case = viewer_case(name, image.numpy(), {"segmentation": labels.numpy()}, affine)
    write_text(path, viewer_page(name, viewer_book(structures, [case])))


def like(scan: Path, voxels: NDArray, affine: NDArray) -> nib.Nifti1Image:
    """An image with the voxels given, and the affine, header and units of a scan's file.

    A scan that is a single volume in four dimensions stays one; of several it becomes one of three.
    """
    nifti = scan.name.lower().endswith((".nii", ".nii.gz"))
    source: Any = load_nibabel(scan) if nifti else None
    if source is None:
        image = nib.Nifti1Image(voxels, affine)
        image.header.set_xyzt_units("mm")
        return image
    header = source.header.copy()
    header.set_data_dtype(voxels.dtype)
    header.set_slope_inter(1, 0)
    header["cal_min"] = header["cal_max"] = 0
    shape = [length or 1 for length in source.shape]
    if voxels.ndim == 3 and voxels.size == math.prod(shape):
        voxels = voxels.reshape(shape)
    return type(source)(voxels, source.affine, header)


def _save_image(path: Path, image: nib.Nifti1Image) -> None:
    """Write an image that is never seen half-written."""
    with whole_file(path) as partial:
        nib.save(image, partial)
