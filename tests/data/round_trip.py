"""How much of a label map survives the way onto the prepared cube and back to the scan?

    python tests/data/round_trip.py COHORT                    sizes 128, 256 and 320, twelve scans
    python tests/data/round_trip.py COHORT --sizes 192 --scans 3

A larger cube is tried for those scans that lost something in the one before.

COHORT is a folder of label maps such as the embedded cohort's in the cache (~/.cache/gaborseg,
built by data.source.size=128). Each is seen through a grid of its own: any orientation, up to 25
degrees oblique, 90 to 260 voxels of 0.7 to 3 mm a side. Nothing is predicted: what is lost is what
the cube cannot hold.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation
from torch.nn import functional as F

from gaborseg.scans import PreparedGrid, labels_to_native, labels_to_prepared

CODES = ("RAS", "LAS", "PIR", "LPS", "ASR", "RPI", "SAL", "IPR")
SMALLEST = 200
"""Voxels of the scan; smaller structures do not count."""
ENOUGH = 0.95


def main() -> None:
    """Print, for each size, how many structures keep their Dice, and the lowest."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256, 320])
    parser.add_argument("--scans", type=int, default=12)
    arguments = parser.parse_args()
    paths = sorted(arguments.cohort.glob("sub-*/anat/*_dseg.nii.gz"))[: arguments.scans]
    left = {path.name: scan(path, seed) for seed, path in enumerate(paths)}
    for size in arguments.sizes:
        found = {
            name: list(kept(*left[name], size))
            for name in track(left, f"size {size}, {len(left)} scans")
        }
        report(size, found)
        left = {name: left[name] for name, dice in found.items() if min(dice) <= ENOUGH}


def report(size: int, found: dict[str, list[float]]) -> None:
    """Print how many structures keep their Dice, and the scans in which one does not."""
    every = [dice for values in found.values() for dice in values]
    if every:
        above = sum(dice > ENOUGH for dice in every)
        print(f"size {size}: {above} of {len(every)} above {ENOUGH}, lowest {min(every):.4f}")
    for name, values in found.items():
        if min(values) <= ENOUGH:
            print(f"    {name}: lowest {min(values):.4f}")


def scan(path: Path, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return a label map on the grid that a number decides, and its affine."""
    draw = np.random.default_rng(seed)
    image = nib.load(path)
    sides = draw.uniform(185, 260, 3)  # mm
    shape = np.clip(np.round(sides / draw.uniform(0.7, 3.0, 3)), 90, 260).astype(int)
    affine = np.eye(4)
    angles = draw.uniform(-12, 12, 3)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * (sides / shape)
    middle = image.affine @ [*((np.array(image.shape) - 1) / 2), 1]
    affine[:3, 3] = middle[:3] + draw.uniform(-15, 15, 3) - affine[:3, :3] @ ((shape - 1) / 2)
    back = np.linalg.inv(image.affine) @ affine
    labels = affine_transform(
        np.asanyarray(image.dataobj), back[:3, :3], back[:3, 3], output_shape=shape, order=0
    )
    code = CODES[seed % len(CODES)]
    turn = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(code)
    )
    turned = nib.orientations.apply_orientation(labels, turn)
    return turned.copy(), affine @ nib.orientations.inv_ornt_aff(turn, labels.shape)


def kept(labels: NDArray[np.uint8], affine: NDArray[np.float64], size: int) -> Iterator[float]:
    """Yield the Dice of every structure that is large enough, before against after."""
    truth = torch.from_numpy(labels)
    grid = PreparedGrid((truth.shape[0], truth.shape[1], truth.shape[2]), affine, size)
    cube = labels_to_prepared(truth, grid)
    scores = F.one_hot(cube.long(), int(truth.max()) + 1).movedim(-1, 0)
    after = labels_to_native(scores.to(torch.uint8), grid)
    for label in range(1, int(truth.max()) + 1):
        one, other = truth == label, after == label
        if one.sum() > SMALLEST:
            yield float(2 * (one & other).sum() / (one.sum() + other.sum()))


if __name__ == "__main__":
    main()
