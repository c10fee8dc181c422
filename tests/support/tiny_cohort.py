"""A tiny cohort on disk: six subjects of 8^3 voxels with two structures."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

SHAPE = (8, 8, 8)
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


def write_nifti(path: Path, voxels: NDArray, affine: NDArray = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, affine), path)


def write_cohort(root: Path, num_subjects: int = 6, channels: tuple[str, ...] = ("T1w",)) -> Path:
    rng = np.random.default_rng(0)
    for number in range(1, num_subjects + 1):
        stem = f"{root}/sub-{number:02d}/anat/sub-{number:02d}"
        label = np.zeros(SHAPE, np.uint8)
        label[2:6, 2:6, 2:4], label[2:6, 2:6, 4:6] = 1, 2
        for channel in channels:
            image = 100 * label + rng.integers(0, 20, SHAPE)
            write_nifti(Path(f"{stem}_{channel}.nii.gz"), image.astype(np.int16))
        write_nifti(Path(f"{stem}_dseg.nii.gz"), label)
    description = {"name": "tiny", "structures": ["inner", "outer"], "channels": list(channels)}
    (root / "dataset.json").write_text(json.dumps(description))
    return root
