"""The whole way of a user: scans of all kinds are prepared, trained on, and segmented in place."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from config import CONF, compose_config
from distorted_cohort import phantom, write_distorted_cohort
from src.data.scans import read_scan
from src.predict import predict
from src.prepare import prepare
from src.experiment import train
from tiny_run import tiny_overrides

CHOICES = {"kernel": "conventional", "loss": "pcc", "experiment": "smoke"}


@pytest.mark.slow
def test_scans_are_prepared_trained_on_and_segmented_in_their_own_space(tmp_path: Path) -> None:
    scans = write_distorted_cohort(tmp_path / "my scans", [phantom] * 5)
    prepared, run, segmented = (tmp_path / name for name in ("prepared", "run", "segmented"))
    with initialize_config_dir(str(CONF), version_base="1.3"):
        preparing = compose("prepare", [f"input='{scans}'", f"output={prepared}", "size=16"])
        predicting = compose(
            "predict", [f"checkpoint={run}", f"input='{scans}'", f"output={segmented}"]
        )
    prepare(preparing)
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
