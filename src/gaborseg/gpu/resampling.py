"""Volumes moved by an affine transform, and cut into patches, on the device where they are."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gaborseg.gpu.trust import TwinCheck, largest_difference, trusted

Matrix = tuple[tuple[float, ...], ...]
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_VOXELS, _WARPS = 256, 4
"""Of a program, and groups of 32 threads that it has."""


class Resampling(NamedTuple):
    """What a batch takes from one of its volumes; plain numbers, which stay on the CPU.

    Attributes:
        matrix: (3, 4): maps a voxel of the moved volume, and 1, to its place in the volume, in
            voxels. None: the volume is not moved.
        corners: The first voxel of each patch in the moved volume.
        sides: Voxels of a patch along each axis; of the volume if there are no patches.
    """

    matrix: Matrix | None
    corners: tuple[tuple[int, ...], ...]
    sides: tuple[int, ...]


def resampled(batch: Mapping[str, Any]) -> dict[str, Tensor]:
    """A batch whose volumes are moved and cut as its ``resampling`` says, one for each.

    Image (B K, C, *P) and label (B K, *P) for images (B, C, *S) and label maps (B, *S). Images are
    interpolated linearly and filled with the minimum of each channel, label maps take the nearest
    neighbour and are filled with 0; half a voxel beyond the outermost centres counts as inside.
    """
    volumes = zip(batch["image"], batch["label"], batch["resampling"], strict=True)
    images, labels = zip(*(_patches(*volume) for volume in volumes), strict=True)
    others = {key: part for key, part in batch.items() if key != "resampling"}
    return {**others, "image": torch.cat(images), "label": torch.cat(labels)}


def _patches(image: Tensor, label: Tensor, how: Resampling) -> tuple[Tensor, Tensor]:
    """Patches (K, C, *P) and (K, *P) of an image (C, *S) and its label map (*S)."""
    if how.matrix is None:
        cut = [(image[(..., *part)], label[part]) for part in _slices(how)]
        return torch.stack([one for one, _ in cut]), torch.stack([one for _, one in cut])
    fill = image.flatten(1).amin(dim=1)
    fused = image.is_cuda and image.dtype in _DTYPES and trusted(_CHECK, image.device)
    return (fused_patches if fused else plain_patches)(image, label, fill, how)


def plain_patches(
    image: Tensor, label: Tensor, fill: Tensor, how: Resampling
) -> tuple[Tensor, Tensor]:
    """Patches of a moved volume by torch's operators, filled with (C), on any device."""
    assert how.matrix is not None
    places = [coordinates(how.matrix, corner, how.sides, image.device) for corner in how.corners]
    images = [_linear(image, where, fill.view(-1, 1, 1, 1)) for where in places]
    return torch.stack(images), torch.stack([nearest_labels(label, where) for where in places])


def fused_patches(
    image: Tensor, label: Tensor, fill: Tensor, how: Resampling
) -> tuple[Tensor, Tensor]:
    """Patches of a moved volume by the Triton kernel, one launch for each."""
    from gaborseg.gpu.kernels.resampling import resampling_kernel

    image, label, count, voxels = (
        image.contiguous(),
        label.contiguous(),
        len(how.corners),
        math.prod(how.sides),
    )
    moved = image.new_empty(count, len(image), *how.sides)
    moved_label = label.new_empty(count, *how.sides)
    bits = np.array(how.matrix, dtype=np.float64).view(np.int64).flatten().tolist()
    for index, corner in enumerate(how.corners):
        with torch.cuda.device_of(image):
            resampling_kernel[-(-voxels // _VOXELS),](
                image,
                label,
                fill,
                moved[index],
                moved_label[index],
                *image.shape,
                *corner,
                *how.sides[1:],
                voxels,
                *bits,
                block=_VOXELS,
                num_warps=_WARPS,
            )
    return moved, moved_label


def _linear(image: Tensor, where: Sequence[Tensor], fill: Tensor) -> Tensor:
    """Values of an image (C, *S) at places (*P), (C, *P)."""
    shape = image.shape[1:]
    scaled = [(2 * x + 1) / size - 1 for x, size in zip(where, shape, strict=True)]
    wide = image[None].to(torch.promote_types(image.dtype, torch.float32))
    grid = torch.stack(scaled[::-1], dim=-1)[None].to(wide.dtype)
    found = F.grid_sample(wide, grid, padding_mode="border", align_corners=False)[0]
    return torch.where(_inside(where, shape), found.to(image.dtype), fill)


def nearest_labels(label: Tensor, where: Sequence[Tensor]) -> Tensor:
    """Labels of a label map (*S) at places (*P), of the same type."""
    voxels: Any = tuple(
        (x + 0.5).floor().long().clamp(0, size - 1)
        for x, size in zip(where, label.shape, strict=True)
    )
    return label[voxels].where(_inside(where, label.shape), 0)


def _slices(how: Resampling) -> list[Any]:
    """The voxels of each patch of a volume that is not moved."""
    return [
        tuple(slice(first, first + side) for first, side in zip(corner, how.sides, strict=True))
        for corner in how.corners
    ]


def coordinates(
    matrix: Matrix, corner: Sequence[int], sides: Sequence[int], device: torch.device
) -> list[Tensor]:
    """Where the voxels of a patch lie in the volume along each of its axes, float64 (*P)."""
    first, second, third = (
        torch.arange(start, start + side, dtype=torch.float64, device=device)
        for start, side in zip(corner, sides, strict=True)
    )
    return [
        (first * along[0])[:, None, None]
        + ((second * along[1])[:, None] + (third * along[2] + along[3]))
        for along in matrix
    ]


def _inside(where: Sequence[Tensor], shape: Sequence[int]) -> Tensor:
    """Which places lie in a voxel of the volume, (*P) bool."""
    depth, height, width = (
        (x >= -0.5) & (x < size - 0.5) for x, size in zip(where, shape, strict=True)
    )
    return depth & height & width


def _difference(device: torch.device) -> float:
    """How far the kernel is from torch's operators on a small volume."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 13, 15, 18, generator=generator).to(device)
    label = torch.randint(100, image.shape[1:], generator=generator).to(device, torch.uint8)
    turned = ((0.9, 0.3, 0.01, -3.1), (-0.3, 0.8, 0.1, 5.7), (0.02, -0.1, 1.1, -2.9))
    how = Resampling(turned, ((0, 0, 0), (2, 3, 4)), (10, 11, 13))
    fill = torch.zeros(2, device=device)
    ours, twins = (way(image, label, fill, how) for way in (fused_patches, plain_patches))
    return largest_difference(ours, twins)


_CHECK = TwinCheck("augmentation", _difference, 3e-5)
