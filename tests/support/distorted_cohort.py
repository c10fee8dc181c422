"""Scans as users bring them: any orientation, spacing, size, obliqueness, voxel type and format."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK
from numpy.random import Generator
from numpy.typing import NDArray

Anatomy = Callable[[NDArray], tuple[NDArray, NDArray]]
"""World millimetres (*S, 3) to an image and a label map (*S)."""

CODES = ("RAS", "PIR", "LAS", "LPS", "SRA", "AIL", "IRP", "LIA")
ENDINGS = (".nii.gz", ".nii", ".mgz", ".nrrd")
STORED = (np.int16, np.uint8, np.float32)


@dataclass(frozen=True)
class Grid:
    """Where the voxels of a scan lie."""

    shape: tuple[int, int, int]
    affine: NDArray

    def world(self) -> NDArray:
        """World millimetres of every voxel, (*shape, 3)."""
        index = np.stack(np.meshgrid(*map(np.arange, self.shape), indexing="ij"), axis=-1)
        return index @ self.affine[:3, :3].T + self.affine[:3, 3]


def phantom(world: NDArray) -> tuple[NDArray, NDArray]:
    """An egg with a ball on its left and a box on its right, 80 mm tall; nothing is symmetric.

    1: the egg; 2: the ball, left, anterior, superior; 3: the box, right, posterior, inferior.
    """
    egg = np.linalg.norm(world / (30, 36, 40), axis=-1) < 1
    ball = np.linalg.norm(world - (-12, 14, 16), axis=-1) < 9
    box = (np.abs(world - (13, -12, -14)) < (7, 9, 6)).all(axis=-1)
    labels = np.select([ball, box, egg], [2, 3, 1], 0).astype(np.uint8)
    image = np.array([5.0, 120.0, 200.0, 60.0])[labels] + 0.3 * world[..., 1]
    return image.clip(0), labels


def random_grid(
    rng: Generator,
    code: str,
    field_of_view: tuple[float, float, float],
    spacings: tuple[float, float],
    sizes: tuple[int, int],
) -> Grid:
    """A grid about the world's origin with axes towards ``code``, up to 15 degrees oblique."""
    spacing = rng.uniform(*spacings, 3)
    size = np.clip(np.ceil(np.array(field_of_view) / spacing), *sizes).astype(int)
    axes = ["RAS".index(one) if one in "RAS" else "LPI".index(one) for one in code]
    signs = [1 if one in "RAS" else -1 for one in code]
    turn = np.zeros((3, 3))
    turn[axes, range(3)] = signs
    affine = np.eye(4)
    affine[:3, :3] = rotation(rng.uniform(-0.26, 0.26), rng) @ turn * spacing[axes]
    shape = size[axes]
    affine[:3, 3] = rng.uniform(-2, 2, 3) - affine[:3, :3] @ (shape - 1) / 2
    return Grid(tuple(shape.tolist()), affine)


def rotation(angle: float, rng: Generator) -> NDArray:
    """A rotation about a random axis (Rodrigues' formula)."""
    x, y, z = (axis := rng.standard_normal(3)) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def write_scan(path: Path, voxels: NDArray, affine: NDArray) -> None:
    """Write a volume in the format that its name ends with; integers of real numbers are scaled."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith((".nrrd", ".mha", ".mhd")):
        image = SimpleITK.GetImageFromArray(voxels.T)
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        itk = np.diag([-1, -1, 1, 1]) @ affine
        image.SetSpacing(spacing.tolist())
        image.SetOrigin(itk[:3, 3].tolist())
        image.SetDirection((itk[:3, :3] / spacing).ravel().tolist())
        SimpleITK.WriteImage(image, str(path), useCompression=True)
    elif path.name.endswith(".mgz"):
        nib.save(nib.MGHImage(voxels.astype(np.float32), affine), path)
    elif path.name.endswith((".hdr", ".img")):
        nib.save(nib.Nifti1Pair(voxels, affine), path)
    else:
        nib.save(nib.Nifti1Image(voxels, affine), path)


def store(image: NDArray, dtype: type, affine: NDArray) -> nib.Nifti1Image:
    """A NIfTI image that stores real numbers as ``dtype``, scaled by slope and intercept."""
    volume = nib.Nifti1Image(image.astype(np.float64), affine)
    volume.header.set_data_dtype(dtype)
    return volume


def write_distorted_cohort(
    root: Path,
    anatomies: list[Anatomy],
    field_of_view: tuple[float, float, float] = (66, 78, 86),
    spacings: tuple[float, float] = (3.0, 6.0),
    sizes: tuple[int, int] = (12, 30),
    seed: int = 0,
) -> Path:
    """Write a scan of each anatomy, every one distorted in its own way; return the folder."""
    rng = np.random.default_rng(seed)
    for number, anatomy in enumerate(anatomies):
        grid = random_grid(rng, CODES[number % len(CODES)], field_of_view, spacings, sizes)
        image, labels = anatomy(grid.world())
        image = image + rng.normal(0, 2, image.shape)
        stem = root / f"sub-{number + 1:02d}" / "anat" / f"sub-{number + 1:02d}"
        ending = ENDINGS[number % len(ENDINGS)]
        write_scan(stem.with_name(f"{stem.name}_dseg{ending}"), labels, grid.affine)
        target = stem.with_name(f"{stem.name}_T1w{ending}")
        if ending.startswith(".nii"):
            nib.save(store(image, STORED[number % len(STORED)], grid.affine), target)
        else:
            write_scan(target, image.astype(np.float32), grid.affine)
    return root
