"""What a test leaves in the run folder: scores, label maps, and a picture of one subject."""

import gzip
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
import pytorch_lightning as pl
import torch.distributed as dist
from numpy.typing import NDArray
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import Tensor

from gaborseg.machine import write_atomically
from gaborseg.metrics import case_scores, counted_labels, voxel_tolerance
from gaborseg.pictures import Example, draw_example, example_slices
from gaborseg.runs import (
    Run,
    RunFile,
    Score,
    overall_means,
    score_rows,
    subject_means,
    weights_digest,
    write_scores,
)
from gaborseg.scans import voxel_sides
from gaborseg.training.module import Batch, SegmentationModule, Tested


class TestReport(Callback):
    """Writes ``subjects.csv``, ``predictions/`` and ``example.png`` (the median test subject).

    Each process scores and writes the subjects that it segments, as it goes; the first process then
    has the scores of all.

    Args:
        run: The run whose folder gets the files.
        list_affines: Gives the ids of all subjects of the data set, as ``batch["index"]`` counts
            them, with their affines (4, 4); called at the test.

    Attributes:
        tolerance: Millimetres that a surface may be off and still count as found (NSD).
        weights: Digests of the weights that are tested, at the first subject and after the last.
    """

    tolerance: float
    weights: set[str]

    def __init__(self, run: Run, list_affines: Callable[[], Mapping[str, NDArray]]) -> None:
        self.run = run
        self.list_affines = list_affines
        self.examples: dict[str, Example] = {}
        self.rows: dict[str, list[Score]] = {}

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find out who is tested, and make room for the label maps."""
        self.affines = self.list_affines()
        self.subjects = list(self.affines)
        self.tolerance = voxel_tolerance(self.affines.values())
        self.run.path(RunFile.PREDICTIONS).mkdir(parents=True, exist_ok=True)

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Score and write each subject that this process segments, and keep its slices."""
        module = cast(SegmentationModule, pl_module)
        if batch_idx == 0:
            self.weights = {weights_digest(module.state_dict())}
        unlabelled = batch.get("unlabelled", [None] * len(batch["index"]))
        indices = batch["index"].tolist()
        results = cast(Tested, outputs)
        parts = zip(
            indices,
            batch["image"],
            batch["label"],
            results["prediction"],
            results["calibration"],
            unlabelled,
            strict=True,
        )
        for index, image, label, prediction, errors, row in parts:
            subject = self.subjects[index]
            self.rows[subject] = self._score(subject, module, prediction, label, errors, row)
            path = self.run.path(RunFile.PREDICTIONS) / f"{subject}.nii.gz"
            write_label_map(path, prediction, self.affines[subject])
            _, truth = counted_labels(label, label, module.ignore)
            self.examples[subject] = example_slices(image, truth, prediction)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Collect the scores of all processes, and log their means beside Dice."""
        self.weights |= {weights_digest(pl_module.state_dict())}
        rows = {s: own for part in _of_all_processes(self.rows) for s, own in part.items()}
        self.rows = {subject: rows[subject] for subject in self.subjects if subject in rows}
        means = overall_means(row for own in self.rows.values() for row in own)
        pl_module.log_dict({"test/hd95": means.hd95, "test/nsd": means.nsd})

    @rank_zero_only
    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the scores and draw the subject in the middle of those of this process."""
        rows = [row for own in self.rows.values() for row in own]
        write_scores(self.run.path(RunFile.SCORES), rows)
        dice = {subject: means.dice for subject, means in subject_means(rows).items()}
        scored = [subject for subject in self.examples if not math.isnan(dice[subject])]
        here = sorted(scored, key=dice.__getitem__) or list(self.examples)
        median = here[len(here) // 2]
        title = f"{median}: Dice {100 * dice[median]:.0f} %"
        draw_example(self.run.path(RunFile.EXAMPLE), self.examples[median], title)

    def _score(
        self,
        subject: str,
        module: SegmentationModule,
        prediction: Tensor,
        label: Tensor,
        errors: list[Tensor],
        unlabelled: Tensor | None,
    ) -> list[Score]:
        scores = case_scores(
            prediction.cpu(),
            label.cpu(),
            len(module.structures),
            spacing=voxel_sides(self.affines[subject]).tolist(),
            tolerance=self.tolerance,
            ignore=module.ignore,
            unlabelled=None if unlabelled is None else unlabelled.cpu(),
        )
        columns = [column.tolist() for column in (*scores, *errors)]
        return score_rows(subject, module.structures, columns)


def write_label_map(path: Path, labels: Tensor, affine: NDArray) -> None:
    """Write labels (D, H, W) of 0 ... 255 as a compressed NIfTI file in mm, whole or not at all."""
    volume = nib.Nifti1Image(labels.to("cpu").numpy().astype(np.uint8), affine)
    volume.header.set_xyzt_units("mm")
    with write_atomically(path, "wb") as file:
        file.write(gzip.compress(volume.to_bytes(), compresslevel=6, mtime=0))


def _of_all_processes(mine: dict[str, list[Score]]) -> list[dict[str, list[Score]]]:
    """Return the rows of every process that tests; that of this one alone without others."""
    if not (dist.is_available() and dist.is_initialized()):
        return [mine]
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, mine)
    return parts
