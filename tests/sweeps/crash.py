"""A callback for tests, which Hydra builds in the processes of a distributed run."""

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback


class CrashOfOneProcess(Callback):
    """Raises an error in one process, at the start of the second epoch."""

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Raise it."""
        if (trainer.current_epoch, trainer.global_rank) == (1, self.rank):
            raise RuntimeError(f"process {self.rank} crashes")
