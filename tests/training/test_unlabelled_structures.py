"""A structure that nobody has looked for in a scan is neither missed nor wrongly found in it."""

import csv
import json
import math
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import nn

from config import compose_config, settings_of
from gaborseg import PCCLoss, SegmentationModule
from gaborseg.data import SegmentationData
from gaborseg.evaluation import evaluate
from gaborseg.experiment import train
from tiny_cohort import write_nifti
from tiny_run import tiny_overrides


def test_it_has_no_score_in_that_scan_and_the_others_have(monkeypatch: pytest.MonkeyPatch) -> None:
    label = torch.tensor([0, 1, 1, 0]).view(1, 4, 1, 1).repeat(2, 1, 1, 1)
    logits = 9.0 * nn.functional.one_hot(torch.tensor([2, 1, 1, 0]), 3).T.view(1, 3, 4, 1, 1)
    module = SegmentationModule(nn.Identity(), PCCLoss(), structures=("a", "b"))
    monkeypatch.setattr(module, "log", lambda *values, **options: None)
    batch = {"image": logits.repeat(2, 1, 1, 1, 1), "label": label, "index": torch.arange(2)}
    batch["unlabelled"] = torch.tensor([[False, False, True], [False, False, False]])
    module.validation_step(batch, 0)
    dice = module.dice.compute().dice
    assert dice[:, 0].tolist() == [1, 1]
    assert math.isnan(dice[0, 1])
    assert dice[1, 1] == 0


@pytest.mark.slow
def test_a_run_of_partly_labelled_data_and_its_evaluation_agree(
    cohort: Path, tmp_path: Path
) -> None:
    data = SegmentationData.from_folder(cohort, tmp_path / "cache")
    data.prepare()
    partly = [data.split.train[0], *data.split.test]
    path = cohort / "dataset.json"
    told = {"unlabelled": {subject: ["outer"] for subject in partly}}
    path.write_text(json.dumps(json.loads(path.read_text()) | told))
    for subject in partly:
        file = cohort / subject / "anat" / f"{subject}_dseg.nii.gz"
        voxels = np.asarray(nib.load(file).dataobj)
        write_nifti(file, np.where(voxels == 2, 0, voxels).astype(np.uint8))
    run = tmp_path / "run"
    choices = {"kernel": "conventional", "loss": "pcc", "experiment": "smoke"}
    overrides = [*tiny_overrides(cohort), "decision=calibrated", "trainer.max_epochs=1"]
    train(compose_config(overrides), run, choices)
    rows = {row["structure"]: row for row in csv.DictReader((run / "subjects.csv").open())}
    assert rows["inner"]["dice"] not in ("", "nan")
    assert rows["outer"]["dice"] in ("", "nan")
    evaluate(settings_of("evaluate", run=run, output=tmp_path / "again"))
    assert (tmp_path / "again" / "subjects.csv").read_text() == (run / "subjects.csv").read_text()
