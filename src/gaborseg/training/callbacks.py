"""What happens around the epochs: seeding, fitting the decision, one line of log an epoch."""

import hashlib
import logging
import math
import time
from collections import deque
from collections.abc import Callable
from functools import cached_property
from statistics import median
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, RichProgressBar
from pytorch_lightning.callbacks.early_stopping import EarlyStoppingReason
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from rich.progress import ProgressColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.data import DataLoader

from gaborseg.decisions import Calibrated
from gaborseg.losses import counted_voxels
from gaborseg.machine import duration
from gaborseg.runs import MONITOR, Monitor
from gaborseg.training.csv_logger import CsvLogger
from gaborseg.training.module import Batch, SegmentationModule

log = logging.getLogger(__name__)

_OF_STRUCTURES = "val/dice/"
_LEAST_PATIENCE = 20
_MOST_NAMES = 3
"""Of structures in the line of an epoch; of more it has the number."""
_BAR_WIDTH = 12
_RECENT = 10  # epochs whose time tells how long the others will take
_REMEDY = {
    False: "decision=calibrated finds scores that are right but too low to win the argmax",
    True: "try loss=pcc, or if it is that, loss=dice_ce or another seed=",
}
"""What to do about a dead structure, by whether the decision is calibrated."""


class SeedEpochs(Callback):
    """Seeds torch at the start of every epoch, so that a resumed run draws what it would have.

    Args:
        seed: The run's seed; epoch and process are mixed in.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Seed the global generator from (seed, epoch, process)."""
        text = f"{self.seed} {trainer.current_epoch} {trainer.global_rank}"
        digest = hashlib.sha256(text.encode()).digest()
        torch.manual_seed(int.from_bytes(digest[:8], "little") >> 1)


class ProgressBar(RichProgressBar):
    """Rich progress bars of the epoch and of the test, with the time that the training has left.

    Epochs count from 1, as in the log.
    """

    def get_metrics(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Return what is shown beside the bar."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics

    def configure_columns(self, trainer: pl.Trainer) -> list[ProgressColumn]:
        """Return the columns, which fit on one line of a terminal of 80 columns."""
        description, bar, batches, _, speed = super().configure_columns(trainer)
        bar.bar_width = _BAR_WIDTH
        return [description, bar, batches, TimeRemainingColumn(compact=True), speed]

    def _get_train_description(self, current_epoch: int) -> str:
        timed = (c for c in cast(Any, self.trainer).callbacks if isinstance(c, EpochLine))
        left = next((line.left for line in timed), None)
        count = f"epoch {current_epoch + 1}/{self.trainer.max_epochs}"
        return f"{count}, {duration(left)} left" if left else count


class FitDecision(Callback):
    """Fits a calibrated decision on the validation subjects, each time before they are scored.

    Args:
        make_loader: Gives batches of the validation subjects, as a loader of its own: Lightning is
            already reading the other one when a validation starts.
    """

    def __init__(self, make_loader: Callable[[], DataLoader]) -> None:
        self.make_loader = make_loader

    @cached_property
    def loader(self) -> DataLoader:
        """The batches, made when they are first needed."""
        return self.make_loader()

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Fit, if the decision has something to fit and the network is being trained."""
        if trainer.state.fn != TrainerFn.FITTING or not isinstance(pl_module, SegmentationModule):
            return
        if isinstance(pl_module.decision, Calibrated):
            self._fit(trainer, pl_module, pl_module.decision)

    def _fit(
        self, trainer: pl.Trainer, pl_module: SegmentationModule, decision: Calibrated
    ) -> None:
        for batch in self.loader:
            batch = trainer.precision_plugin.convert_input(batch)
            batch = trainer.strategy.batch_to_device(batch, pl_module.device)
            with trainer.precision_plugin.val_step_context():
                _observe(decision, pl_module.logits(batch["image"]), batch, pl_module.ignore)
        decision.fit()


def _observe(decision: Calibrated, logits: Tensor, batch: Batch, ignore: int | None) -> None:
    """Show a decision a batch, without what nobody has labelled in it."""
    unlabelled = batch.get("unlabelled")
    if ignore is None and unlabelled is None:
        decision.observe(logits, batch["label"])
        return
    rows = [None] * len(logits) if unlabelled is None else unlabelled
    for part, row in zip(counted_voxels(logits, batch["label"], ignore), rows, strict=True):
        if part is not None:
            decision.observe(*part, row)


class StopAtNaN(Callback):
    """Ends a training whose loss is no longer a number; its best epoch is tested all the same."""

    def __init__(self) -> None:
        self.stopped = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep to the end that an earlier session has decided on."""
        trainer.should_stop = trainer.should_stop or self.stopped

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop all processes if the mean loss of the epoch is NaN or infinite."""
        loss = float(trainer.callback_metrics["train/loss"])
        if not math.isfinite(loss):
            self.stopped = trainer.should_stop = True
            rank_zero_only(log.warning)(
                f"training stops: the loss of epoch {trainer.current_epoch + 1} is {loss}; "
                "a lower optimizer.lr may help"
            )

    def state_dict(self) -> dict[str, Any]:
        """Return whether the training has been stopped."""
        return {"stopped": self.stopped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up whether the training has been stopped."""
        self.stopped = state_dict["stopped"]


class StayStopped(Callback):
    """Ends at once what an earlier session has stopped early but did not live to test."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep to the end that a callback for early stopping has decided on."""
        if any(_has_decided(c) for c in cast(Any, trainer).callbacks):
            trainer.should_stop = True


def _has_decided(callback: Callback) -> bool:
    """Return whether a callback has stopped the training; its epoch is 0 if that was the first."""
    return isinstance(callback, EarlyStopping) and (
        callback.stopped_epoch > 0 or callback.stopping_reason != EarlyStoppingReason.NOT_STOPPED
    )


class PauseAfter(Callback):
    """Ends a session after an epoch; the next one goes on from there as if nothing had been.

    Args:
        epochs: How many epochs a run is trained for, all sessions together; None: to its end.
    """

    def __init__(self, epochs: int | None) -> None:
        self.epochs = epochs
        self.paused = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Train nothing if an earlier session has come as far."""
        self._pause(trainer, trainer.current_epoch)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop all processes if so many epochs are done and more are to come."""
        self._pause(trainer, trainer.current_epoch + 1)

    def _pause(self, trainer: pl.Trainer, done: int) -> None:
        if self.epochs is not None and self.epochs <= done < (trainer.max_epochs or 0):
            self.paused = trainer.should_stop = True


class EpochRow(Callback):
    """Has the csv files hold an epoch whole before a checkpoint says that the epoch is over.

    Lightning hands over the metrics of training after its checkpoints: a run that was killed in
    between would go on with the next epoch, and never write them.
    """

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the row of the epoch."""
        row = {key: float(value) for key, value in trainer.callback_metrics.items()}
        for logger in trainer.loggers:
            if isinstance(logger, CsvLogger):
                logger.log_metrics({**row, "epoch": trainer.current_epoch})
                logger.save()


class EpochLine(Callback):
    """Logs one line an epoch: losses, Dice, time, and the structures that nobody finds yet.

    Args:
        monitor: What chooses the best epoch; its best value is in the line.
        pause_after: After how many epochs the training is to pause; None: at its end.

    Attributes:
        best: The best value so far.
        left: Seconds until the training pauses or ends; None before an epoch has been timed.
    """

    def __init__(self, monitor: Monitor, pause_after: int | None = None) -> None:
        self.monitor = monitor
        self.pause_after = pause_after
        self.best = monitor.worst
        self.left: float | None = None
        self.started = 0.0
        self.times: deque[float] = deque(maxlen=_RECENT)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the line."""
        values = {k: float(v) for k, v in trainer.callback_metrics.items()}
        seconds = time.perf_counter() - self.started
        pl_module.log("seconds", seconds, rank_zero_only=True)
        self.times.append(seconds)
        last = min(trainer.max_epochs or 0, self.pause_after or math.inf)
        self.left = median(self.times) * max(last - trainer.current_epoch - 1, 0)
        if trainer.is_global_zero and MONITOR in values:
            value = values[self.monitor.name]
            self.best = value if self.monitor.is_better(value, self.best) else self.best
            log.info(self._line(trainer, values, seconds))

    def state_dict(self) -> dict[str, Any]:
        """Return the best value so far."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the best value so far."""
        self.best = state_dict["best"]

    def _line(self, trainer: pl.Trainer, values: dict[str, float], seconds: float) -> str:
        prefix = f"{MONITOR}/"
        zero = [key for key, value in values.items() if key.startswith(prefix) and value == 0]
        shown = {"train/loss": "train loss", "val/loss": "val loss", MONITOR: "val Dice"}
        shown.setdefault(self.monitor.name, self.monitor.name)
        parts = [f"{word} {values[key]:.4f}{self._told_best(key)}" for key, word in shown.items()]
        count = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        left = f", {duration(self.left)} left" if self.left else ""
        line = f"{count}: {', '.join(parts)}, {seconds:.0f} s{left}"
        if len(zero) > _MOST_NAMES:
            return f"{line}; Dice 0: {len(zero)} structures"
        names = ", ".join(key.removeprefix(prefix) for key in zero)
        return f"{line}; Dice 0: {names}" if zero else line

    def _told_best(self, key: str) -> str:
        return f" (best {self.best:.4f})" if key == self.monitor.name else ""


class DeadStructures(Callback):
    """Names a structure whose validation Dice has been 0 for long, once, with a remedy.

    That is for half of the epochs, and for 20 at least. Of the trainings of ``docs/evidence``, none
    with PCC has found a structure later than in the 25th epoch of 60; those that were not found by
    then stayed at 0.
    """

    def __init__(self) -> None:
        self.epochs: dict[str, int] = {}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count the epochs of each structure, and log one line if any has reached the number."""
        for key, value in trainer.callback_metrics.items():
            if key.startswith(_OF_STRUCTURES):
                name = key.removeprefix(_OF_STRUCTURES)
                self.epochs[name] = self.epochs.get(name, 0) + 1 if value == 0 else 0
        patience = max(_LEAST_PATIENCE, (trainer.max_epochs or 0) // 2)
        dead = [name for name, count in self.epochs.items() if count == patience]
        if dead and isinstance(pl_module, SegmentationModule):
            remedy = _REMEDY[isinstance(pl_module.decision, Calibrated)]
            rank_zero_only(log.warning)(
                f"validation Dice has been 0 for {patience} epochs: {', '.join(dead)}; "
                f"it will hardly rise by itself: {remedy}"
            )

    def state_dict(self) -> dict[str, Any]:
        """Return how many epochs each structure has been at 0."""
        return {"epochs": dict(self.epochs)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up how many epochs each structure has been at 0."""
        self.epochs = dict(state_dict["epochs"])
