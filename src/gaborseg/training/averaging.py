"""Weights that are averaged over epochs."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor


class EpochAveraging(WeightAveraging):
    """Averages the weights at the ends of epochs (stochastic weight averaging).

    The average takes the place of the weights in validation and in checkpoints (Izmailov
    et al. 2018, arXiv 1803.05407).

    Args:
        start: The first epoch that counts, from 0; until then, the last weights are the average.

    Raises:
        ValueError: If ``start`` is negative.
    """

    def __init__(self, start: int) -> None:
        if start < 0:
            raise ValueError(f"start must not be negative, got {start}")

        def mean(average: Tensor, latest: Tensor, epoch: Tensor | int) -> Tensor:
            return average + (latest - average) / (1 + max(int(epoch) - start, 0))

        super().__init__(avg_fn=mean)
        self._ends_epoch = False

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Take up the weights after the last step of an epoch, before they are validated."""
        self._ends_epoch = trainer.is_last_batch
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Return whether the weights are to be taken up now."""
        return step_idx is not None and self._ends_epoch
