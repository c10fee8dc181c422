"""Voxels that nobody has labelled count in no loss, score or fit."""

import csv
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from config import compose_config, settings_of
from gaborseg import Calibrated, PCCLoss, SegmentationModule
from gaborseg.evaluation import evaluate
from gaborseg.experiment import train
from gaborseg.metrics import case_scores
from gaborseg.training import FitDecision
from tiny_cohort import write_nifti
from tiny_run import tiny_overrides

IGNORE = 255


def example() -> tuple[Tensor, Tensor]:
    """Logits (1, 3, 6, 6, 6) and a label map whose last two slices are not labelled."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 3, 6, 6, 6, generator=generator)
    label = torch.randint(3, (1, 6, 6, 6), generator=generator)
    label[:, 4:] = IGNORE
    return logits, label


def trained(decision: nn.Module | None = None) -> SegmentationModule:
    """A module whose network hands on what it is given."""
    structures = ("a", "b")
    return SegmentationModule(
        nn.Identity(), PCCLoss(), structures=structures, decision=decision, ignore=IGNORE
    )


def test_a_training_step_is_that_of_the_labelled_part(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, label = example()
    module = trained()
    monkeypatch.setattr(module, "log", lambda *values, **options: None)
    loss = module.training_step({"image": logits, "label": label}, 0)
    torch.testing.assert_close(loss, PCCLoss()(logits[:, :, :4], label[:, :4]))


def test_validation_scores_are_those_of_the_labelled_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logits, label = example()
    module = trained()
    monkeypatch.setattr(module, "log", lambda *values, **options: None)
    module.validation_step({"image": logits, "label": label, "index": torch.tensor([0])}, 0)
    found, truth = logits.argmax(1)[0, :4], label[0, :4]
    dice = [
        2 * ((found == k) & (truth == k)).sum() / ((found == k).sum() + (truth == k).sum())
        for k in (1, 2)
    ]
    torch.testing.assert_close(module.dice.compute().dice[0].float(), torch.stack(dice))


def test_scores_of_a_case_ignore_what_is_predicted_there() -> None:
    logits, label = example()
    options = {"spacing": (1.0, 2.0, 3.0), "tolerance": 1.0}
    truth, found = label[0], logits.argmax(1)[0]
    other = found.clone()
    other[4:] = (other[4:] + 1) % 3
    scores = [case_scores(p, truth, 2, ignore=IGNORE, **options) for p in (found, other)]
    assert all(map(torch.equal, *scores))
    cut = case_scores(found[:4], truth[:4], 2, **options)
    for name in ("dice", "volume", "true_volume"):
        torch.testing.assert_close(getattr(scores[0], name), getattr(cut, name))


def test_the_decision_is_fitted_on_the_labelled_part() -> None:
    logits, label = example()
    scales = []
    for parts in ((logits, label), (logits[:, :, :4], label[:, :4])):
        decision = Calibrated(3)
        batch = dict(zip(("image", "label"), parts, strict=True))
        trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
        callback = FitDecision(lambda batch=batch: [batch])
        callback._fit(trainer, trained(decision), decision)
        scales.append((decision.scale, decision.offset))
    torch.testing.assert_close(*scales)


@pytest.mark.slow
def test_a_run_and_its_evaluation_agree_on_them(cohort: Path, tmp_path: Path) -> None:
    for path in cohort.glob("sub-*/anat/*_dseg.nii.gz"):
        voxels = np.asarray(nib.load(path).dataobj).copy()
        voxels[4:, :, 4:] = IGNORE
        write_nifti(path, voxels)
    run = tmp_path / "run"
    choices = {"kernel": "conventional", "loss": "pcc", "experiment": "smoke"}
    overrides = [*tiny_overrides(cohort), "data.ignore=255", "decision=calibrated"]
    train(compose_config([*overrides, "trainer.max_epochs=1"]), run, choices)
    rows = list(csv.DictReader((run / "subjects.csv").open()))
    for row in rows:
        truth, found = (
            np.asarray(nib.load(path).dataobj)
            for path in (
                cohort / row["subject"] / "anat" / f"{row['subject']}_dseg.nii.gz",
                run / "predictions" / f"{row['subject']}.nii.gz",
            )
        )
        kept, k = truth != IGNORE, ("inner", "outer").index(row["structure"]) + 1
        a, b = (found == k) & kept, (truth == k) & kept
        assert float(row["dice"]) == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
    evaluate(settings_of("evaluate", run=run, output=tmp_path / "again"))
    assert (tmp_path / "again" / "subjects.csv").read_text() == (run / "subjects.csv").read_text()
