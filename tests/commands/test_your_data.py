"""The whole way of a user: scans of all kinds are prepared, trained on, and segmented in place."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from config import compose_config, settings_of
from distorted_cohort import phantom, random_grid, write_distorted_cohort, write_scan
from gaborseg.data import appearance_of, fill_cache
from gaborseg.data.folder import Folder
from gaborseg.experiment import train
from gaborseg.inference import predict
from gaborseg.inference.inputs import find_scans, read_images
from gaborseg.inference.segmenter import Segmenter
from gaborseg.models import Model, facts_of
from gaborseg.preparation import prepare_scans
from gaborseg.scans import read_scan
from tiny_run import tiny_overrides

CT_AND_MR = np.array([[-1000.0, 40.0, 55.0, 70.0], [0.0, 300.0, 500.0, 200.0]])
"""Intensity of air, egg, ball and box in each of two channels."""
CHOICES = {"kernel": "conventional", "loss": "pcc", "experiment": "smoke"}


def write_two_channels(root: Path) -> Path:
    """Write scans of a CT and an MR of different intensities, a twentieth of a voxel apart."""
    for number, code in enumerate(("RAS", "LIA", "PIR")):
        rng = np.random.default_rng(number)
        grid = random_grid(rng, code, (66, 78, 86), (4.0, 6.0), (12, 30))
        _, labels = phantom(grid.world())
        write_scan(root / f"p{number}_seg.nii.gz", labels, grid.affine)
        for channel, levels in zip(("CT", "MR"), CT_AND_MR, strict=True):
            voxels = (levels[labels] + rng.normal(0, 5, labels.shape)).astype(np.float32)
            affine = grid.affine + (0.2 * np.eye(4, k=3) if channel == "MR" else 0)
            write_scan(root / f"p{number}_{channel}.nii.gz", voxels, affine)
    return root


def test_predict_sees_of_several_channels_what_was_trained_on(tmp_path: Path) -> None:
    scans = write_two_channels(tmp_path / "scans")
    places = [f"input={scans}", f"output={tmp_path / 'prepared'}"]
    prepare_scans(settings_of("prepare", *places, "channels=[CT,MR]", "size=24", "processes=0"))
    dataset = Folder(tmp_path / "prepared", tmp_path / "cache").dataset()
    cases = fill_cache(tmp_path / "cache", dataset)
    looks = appearance_of(cases).as_json()
    data = {"channels": ["CT", "MR"], "size": [24] * 3, "spacing": [4.0] * 3, "appearance": looks}
    facts = facts_of({"structures": list(dataset.structures), **data})
    segmenter = Segmenter([Model(tmp_path / "model", facts, torch.square, torch.square)])
    for scan, case in zip(find_scans([scans], ["CT", "MR"]), cases, strict=True):
        images = read_images(scan.files)
        seen, *_ = segmenter.prepare(images.voxels, images.affine)
        torch.testing.assert_close(seen, torch.tensor(case.read("image")), rtol=0, atol=1e-4)


@pytest.mark.slow
def test_scans_are_prepared_trained_on_and_segmented_in_their_own_space(tmp_path: Path) -> None:
    scans = write_distorted_cohort(tmp_path / "my scans", [phantom] * 5)
    prepared, run, segmented = (tmp_path / name for name in ("prepared", "run", "segmented"))
    preparing = settings_of("prepare", f"input='{scans}'", f"output={prepared}", "size=16")
    predicting = settings_of(
        "predict", f"checkpoint={run}", f"input='{scans}'", f"output={segmented}"
    )
    prepare_scans(preparing)
    options = [*tiny_overrides(prepared), "data.patch_size=12", "trainer.max_epochs=1"]
    train(compose_config(options), run, CHOICES)
    assert predict(predicting) == []
    truths = sorted(scans.rglob("*_dseg.*"))
    for truth in truths:
        scan = read_scan(truth)
        (found,) = segmented.rglob(f"{truth.name.partition('_')[0]}*_dseg.nii.gz")
        labels = nib.load(found)
        assert labels.shape == scan.voxels.shape
        np.testing.assert_allclose(labels.affine, scan.affine, atol=1e-4)
        assert set(np.unique(labels.dataobj)) <= {0, 1, 2, 3}
    assert len(truths) == 5
