"""The one LightningModule: network, loss, optimiser, schedule and decision arrive built."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypedDict

import pytorch_lightning as pl
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import NAdam, Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import Metric

from gaborseg.data import infer_volume
from gaborseg.decisions import Argmax, are_finite, probabilities
from gaborseg.gpu import choices_for
from gaborseg.losses import MaskedLoss
from gaborseg.metrics import (
    OwnMetrics,
    SubjectDice,
    SubjectTable,
    calibration_errors,
    counted_labels,
    mean_dice,
    structure_means,
)
from gaborseg.training.compilation import Compiler, Pass
from gaborseg.training.graphs import GraphedNetwork
from gaborseg.training.schedules import constant

log = logging.getLogger(__name__)

Batch = dict[str, Tensor]


class Tested(TypedDict):
    """What a test step returns.

    Attributes:
        prediction: Label maps (B, *S).
        calibration: Of each sample, expected calibration errors (C - 1,): of the softmax and, if
            the decision is calibrated, of its scores.
    """

    prediction: Tensor
    calibration: list[list[Tensor]]


class SegmentationModule(pl.LightningModule):
    """Trains a network to segment; scores every validation and test subject by Dice.

    It needs no callback of ours: ``Trainer(max_epochs=40).fit(module, datamodule=data)`` trains.
    Optimiser, schedule and decision are the paper's unless others are given.

    Logs ``train/loss``, ``lr``, ``val/loss``, ``val/dice``, ``val/dice/<structure>`` and, of each
    metric of your own, ``val/<name>`` and ``test/<name>``; keeps the test subjects' scores in
    ``test_scores``.

    Args:
        network: Maps images (B, I, *S) to logits (B, C, *S).
        loss: Called as ``loss(logits, target)``.
        structures: Names of the labels 1 ... C-1.
        optimizer: Called with the parameters; Nadam at 10^-3 if not given.
        scheduler: Called as ``scheduler(optimizer, total_steps=n)``; a constant rate if not given.
        decision: Maps logits to a label map; the argmax if not given. ``Calibrated`` needs the
            callback ``gaborseg.training.FitDecision`` too.
        patch_size: Voxels a side of the patches in which whole images are segmented outside
            training; None: they are not cut.
        ignore: Label of voxels that nobody has labelled: they are in no loss and no score; None:
            there are none.
        compiler: ``torch.compile``, or anything that is called with the network's forward pass and
            returns what takes its place in training steps; None: nothing does. What is validated,
            tested and saved is the network itself.
        metrics: Metrics of your own, by name: see ``gaborseg.metrics.OwnMetrics``. They are no part
            of the network: no checkpoint holds them.
        description: Plain values that make a checkpoint enough to use the network: how network and
            decision are built, and what the data are.

    Example:
        >>> import torch
        >>> from gaborseg import GaborConv3d, PCCLoss, SegmentationModule
        >>> module = SegmentationModule(GaborConv3d(1, 3), PCCLoss(), structures=("a", "b"))
        >>> module(torch.zeros(1, 1, 8, 8, 8)).shape
        torch.Size([1, 8, 8, 8])
    """

    test_scores: SubjectTable

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        *,
        structures: Sequence[str],
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] | None = None,
        scheduler: Callable[..., LRScheduler] = constant,
        decision: nn.Module | None = None,
        description: dict[str, Any] | None = None,
        patch_size: int | None = None,
        ignore: int | None = None,
        compiler: Compiler | None = None,
        metrics: Mapping[str, Metric] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = loss if ignore is None else MaskedLoss(loss, ignore)
        self.optimizer = optimizer or partial(NAdam, lr=1e-3, eps=1e-7)
        self.scheduler = scheduler
        self.decision = decision or Argmax()
        self.structures = tuple(structures)
        self.description = description
        self.patch_size = patch_size
        self.ignore = ignore
        self.dice = SubjectDice(len(structures) + 1)
        self.metrics = OwnMetrics(metrics or {}, ignore)
        self.compiler = compiler
        self._trained: Pass | None = None

    def forward(self, image: Tensor) -> Tensor:
        """Return the label map (B, *S) of images (B, I, *S)."""
        return self.decision(self.logits(image))

    def logits(self, image: Tensor) -> Tensor:
        """Return the logits (B, C, *S) of whole images (B, I, *S)."""
        return infer_volume(self.network, image, self.patch_size)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of one batch."""
        network = self._trained or self.network
        loss = self._loss(network(batch["image"]), batch)
        self._log_mean("train/loss", loss, batch)
        return loss

    def on_fit_start(self) -> None:
        """Compile the network's passes, or replay them as graphs where that was faster."""
        alone = self.trainer.world_size == 1
        if self.compiler is not None:
            self._trained = self.compiler(self.network.forward)
        elif self.device.type == "cuda" and alone and choices_for(self.device).graphs:
            self._trained = GraphedNetwork(self.network)

    def on_fit_end(self) -> None:
        """Free what the compiled passes or the graphs hold."""
        self._trained = None

    def on_train_epoch_start(self) -> None:
        """Log the learning rate that the epoch starts with."""
        self.log("lr", self.trainer.optimizers[0].param_groups[0]["lr"])

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Score one batch of validation subjects."""
        logits = self.logits(batch["image"])
        self._log_mean("val/loss", self._loss(logits, batch), batch)
        self._score(self.decision(logits), batch)

    def on_validation_epoch_end(self) -> None:
        """Log mean Dice, and Dice per structure, over the validation subjects of all processes."""
        dice = self._collect_scores().dice
        per_structure = structure_means(dice)
        self.log("val/dice", mean_dice(dice).float(), prog_bar=True)
        for name, value in zip(self.structures, per_structure, strict=True):
            self.log(f"val/dice/{name}", value.float())
        self._log_own("val")

    def test_step(self, batch: Batch, batch_idx: int) -> Tested:
        """Score one batch of test subjects; return its label maps and calibration errors."""
        logits = self.logits(batch["image"])
        if not are_finite(logits):
            log.warning("logits of a test subject are not finite: nothing is found in it")
        prediction: Tensor = self.decision(logits)
        self._score(prediction, batch)
        return {"prediction": prediction, "calibration": self._calibration(logits, batch)}

    def on_test_epoch_end(self) -> None:
        """Keep the scores of the test subjects of all processes."""
        self.test_scores = self._collect_scores()
        self.log("test/dice", mean_dice(self.test_scores.dice).float())
        self._log_own("test")

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the label map (B, *S) of one batch."""
        return self(batch["image"])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the description beside the weights."""
        checkpoint["description"] = self.description

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return the optimiser and its schedule over all steps of the training."""
        optimizer = self.optimizer(self.parameters())
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = self.scheduler(optimizer, total_steps=steps)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def _log_mean(self, name: str, value: Tensor, batch: Batch) -> None:
        size = len(batch["image"])
        self.log(name, value, on_step=False, on_epoch=True, sync_dist=True, batch_size=size)

    def _log_own(self, part: str) -> None:
        for name, value in self.metrics.compute().items():
            self.log(f"{part}/{name}", value)

    def _loss(self, logits: Tensor, batch: Batch) -> Tensor:
        if "unlabelled" not in batch:
            return self.loss(logits, batch["label"])
        masked = self.loss if isinstance(self.loss, MaskedLoss) else MaskedLoss(self.loss, None)
        return masked(logits, batch["label"], batch["unlabelled"])

    def _score(self, prediction: Tensor, batch: Batch) -> None:
        unlabelled = batch.get("unlabelled")
        counted = counted_labels(prediction, batch["label"], self.ignore, unlabelled)
        self.dice.update(*counted, batch["index"])
        self.metrics.update(prediction, batch["label"], unlabelled)

    def _calibration(self, logits: Tensor, batch: Batch) -> list[list[Tensor]]:
        """Return, of each sample, calibration errors (C - 1,) of all that are probabilities."""
        unlabelled = batch.get("unlabelled", [None] * len(logits))
        errors: list[list[Tensor]] = [[] for _ in logits]
        for kind in probabilities(self.decision, logits):
            samples = zip(errors, kind, batch["label"], unlabelled, strict=True)
            for own, probs, truth, row in samples:
                own.append(calibration_errors(probs, truth, self.ignore, row))
        return errors

    def _collect_scores(self) -> SubjectTable:
        scores = self.dice.compute()
        self.dice.reset()
        return scores
