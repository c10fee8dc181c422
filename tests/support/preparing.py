"""Calling ``prepare`` in this process, and tiny scans to call it with."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np

from config import settings_of
from gaborseg.preparation import prepare as work

SHAPE = (6, 7, 8)
AFFINE = np.diag([2.0, 2.0, 2.5, 1.0])


def prepare(source: Path, output: Path, **settings: Any) -> None:
    """Prepare a folder at 8 voxels a side; problems go to ``problems.csv`` beside the output."""
    defaults = vars(settings_of("prepare", "input=x", "output=x"))
    given = {"input": str(source), "output": str(output), "size": 8, "processes": 0}
    given |= {"problems": str(output.with_name("problems.csv")), "viewer": "none"}
    sheets, work.contact_sheets = work.contact_sheets, lambda *_: ["nothing"]  # a second each
    try:
        work.prepare_scans(SimpleNamespace(**{**defaults, **given, **settings}))
    finally:
        work.contact_sheets = sheets


def problems_of(output: Path) -> list[str]:
    """What the table of problems says, a line for each."""
    with output.with_name("problems.csv").open(newline="", encoding="utf-8") as file:
        return [f"{row['file']} {row['problem']}" for row in csv.DictReader(file)]


def description_of(output: Path) -> dict[str, Any]:
    """The ``dataset.json`` of a prepared folder."""
    return json.loads((output / "dataset.json").read_text())


def image(seed: int, *more: int) -> np.ndarray:
    """Voxels of an image, of several volumes if wanted."""
    return np.random.default_rng(seed).normal(100, 20, (*SHAPE, *more)).astype(np.float32)


def box(*corners: slice) -> np.ndarray:
    """A mask with a box."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[corners] = 1
    return mask


def save(path: Path, voxels: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    """Write a NIfTI file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, affine), path)


def prepared(output: Path, subject: str, end: str) -> np.ndarray:
    """The voxels of a prepared file."""
    return np.asanyarray(nib.load(output / subject / "anat" / f"{subject}_{end}.nii.gz").dataobj)
