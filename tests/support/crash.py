"""A callback for tests, which Hydra builds in the processes of a run."""

import os
import signal
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback


class Crash(Callback):
    """Ends a process at the start of the second epoch: by an error, or once by a kill."""

    def __init__(self, how: str, rank: int = 0) -> None:
        self.how, self.rank = how, rank

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End it."""
        if (trainer.current_epoch, trainer.global_rank) != (1, self.rank):
            return
        if self.how == "error":
            raise RuntimeError(f"process {self.rank} crashes")
        mark = Path(trainer.default_root_dir, "was_killed")
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
