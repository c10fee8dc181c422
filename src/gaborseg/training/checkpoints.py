"""Checkpoints that are whole or not there, and that know their best even in a moved folder."""

import logging
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from gaborseg.machine import write_atomically
from gaborseg.runs import Run, RunFile

log = logging.getLogger(__name__)

MONITOR = "val/dice"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its final place, to the disk, and then renames it."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Put a checkpoint in the place of whatever ``path`` held."""
        with write_atomically(Path(path), "wb") as file:
            torch.save(checkpoint, file)


_PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")
"""What a ``ModelCheckpoint`` remembers that it may delete later."""


class _Checkpoint(ModelCheckpoint):
    """A ``ModelCheckpoint`` whose memory of the best epoch survives a move of the run folder.

    It has one file. Whatever paths a checkpoint tells, no other file is ever replaced or deleted.
    """

    @property
    def state_key(self) -> str:
        """Return what its state is called in a checkpoint, whatever this class is called."""
        return f"Checkpoint{super().state_key.removeprefix(type(self).__qualname__)}"

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the state, with the file as it is called here."""
        own = str(Path(str(self.dirpath)) / f"{self.filename}{self.FILE_EXTENSION}")
        scores = state_dict["best_k_models"].values()
        paths = {key: own if state_dict[key] else "" for key in _PATHS}
        here = {"dirpath": self.dirpath, "best_k_models": dict(zip([own], scores, strict=False))}
        super().load_state_dict(state_dict | here | paths)


def checkpoints(run: Run) -> list[ModelCheckpoint]:
    """Return the callbacks that keep ``best.ckpt`` (by validation Dice) and the true last epoch."""
    names: dict[str, Any] = {"dirpath": run.folder, "enable_version_counter": False}
    return [
        _Checkpoint(filename=_stem(RunFile.BEST), monitor=MONITOR, mode="max", **names),
        _Checkpoint(filename=_stem(RunFile.LAST), every_n_epochs=1, **names),
    ]


def _stem(name: str) -> str:
    return Path(name).stem


def checkpoint_to_resume(folder: Path) -> Path | None:
    """Return the checkpoint to go on from: the last, else the best, else none: to start anew.

    The best one is what will be tested, so a damaged one can only be trained again.
    """
    last, best = folder / RunFile.LAST, folder / RunFile.BEST
    there = [path for path in (last, best) if path.exists()]
    damaged = [path for path in there if not _is_whole(path)]
    usable = [] if best in damaged else [path for path in there if path not in damaged]
    if damaged:
        names = " and ".join(path.name for path in damaged)
        next_step = f"goes on from {usable[0].name}" if usable else "starts anew"
        rank_zero_only(log.warning)(f"damaged in {folder}: {names}; the training {next_step}")
    return usable[0] if usable else None


def _is_whole(path: Path) -> bool:
    """Return whether every part of a checkpoint has the checksum that it was written with."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception:  # whatever damage makes zipfile raise: it does not always call it so
        return False
