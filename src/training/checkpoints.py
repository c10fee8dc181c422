"""Checkpoints that are whole or not there, and that know their best even in a moved folder."""

import os
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning.callbacks import ModelCheckpoint

from src.training.run_folder import Run

MONITOR = "val/dice"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its final place, to the disk, and then renames it."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Put a checkpoint in the place of whatever ``path`` held."""
        path = Path(path)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        with temporary.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)


class Checkpoint(ModelCheckpoint):
    """A ``ModelCheckpoint`` whose memory of the best epoch survives a move of the run folder."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the state, with every path in the folder as it is now."""
        here = {key: self._moved(value) for key, value in state_dict.items()}
        super().load_state_dict(here | {"dirpath": self.dirpath})

    def _moved(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self._moved(path): score for path, score in value.items()}
        if isinstance(value, str) and value.endswith(self.FILE_EXTENSION):
            return str(Path(str(self.dirpath)) / Path(value).name)
        return value


def checkpoints(run: Run) -> list[ModelCheckpoint]:
    """Return the callbacks that keep ``best.ckpt`` (by validation Dice) and the true last epoch."""
    names: dict[str, Any] = {"dirpath": run.folder, "enable_version_counter": False}
    return [
        Checkpoint(filename="best", monitor=MONITOR, mode="max", **names),
        Checkpoint(filename="last", every_n_epochs=1, **names),
    ]
