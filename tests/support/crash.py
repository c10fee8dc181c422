"""A callback for tests, which Hydra builds in the processes of a distributed run."""

import os
import signal
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback


class CrashOfProcessOne(Callback):
    """Ends the second process at the start of the second epoch: by an error, or once by a kill."""

    def __init__(self, how: str) -> None:
        self.how = how

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End it."""
        if (trainer.current_epoch, trainer.global_rank) != (1, 1):
            return
        if self.how == "error":
            raise RuntimeError("process 1 crashes")
        mark = Path(trainer.default_root_dir, "was_killed")
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
