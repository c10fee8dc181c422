"""Checkpoints that are whole or not there, and that know their best even in a moved folder."""

import errno
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from gaborseg.machine import check_size, write_atomically
from gaborseg.runs import (
    Monitor,
    Run,
    RunFile,
    RunFileError,
    check_archive,
    is_sealed,
    not_finite,
    sealed,
)

log = logging.getLogger(__name__)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its final place, to the disk, and then renames it.

    Args:
        origin: What each checkpoint tells of its run.
    """

    def __init__(self, origin: Mapping[str, str]) -> None:
        self.origin = dict(origin)

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Put a checkpoint in the place of whatever ``path`` held."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(Path(path), "wb") as file:
            torch.save(sealed(checkpoint, self.origin), file)


_OF_DAMAGE = (None, errno.EINVAL, errno.ENOENT)
"""What an ``OSError`` of an archive that is gone or damaged says, as of places it has not."""
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


def checkpoints(run: Run, monitor: Monitor) -> list[ModelCheckpoint]:
    """Return the callbacks that keep ``best.ckpt``, by the monitor, and the true last epoch."""
    names: dict[str, Any] = {"dirpath": run.folder, "enable_version_counter": False}
    return [
        _Checkpoint(filename=_stem(RunFile.BEST), monitor=monitor.name, mode=monitor.mode, **names),
        _Checkpoint(filename=_stem(RunFile.LAST), every_n_epochs=1, **names),
    ]


def _stem(name: str) -> str:
    return Path(name).stem


def checkpoint_to_resume(run: Run) -> Path | None:
    """Return the checkpoint to go on from: the last, else the best, else none: to start anew.

    The best one is what will be tested, so one that is damaged or missing can only be trained
    again.

    Raises:
        RunFileError: If a checkpoint is of another run.
        OSError, MemoryError: If one cannot be read: to train again would replace what may be whole.
    """
    last, best = run.path(RunFile.LAST), run.path(RunFile.BEST)
    found = {path: _content(path) for path in (last, best) if path.exists()}
    sound = {path: content for path, content in found.items() if content}
    for path, content in sound.items():
        run.check_checkpoint(path, content)
    usable = next(iter(sound)) if best in sound else None
    next_step = f"goes on from {usable.name}" if usable else "starts anew"
    if damaged := [path.name for path in found if path not in sound]:
        _warn(f"damaged in {run.folder}: {' and '.join(damaged)}; the training {next_step}")
    elif found and not usable:
        _warn(f"missing in {run.folder}: {best.name}; the training {next_step}")
    if usable:
        _tell_lost_epochs(run, sound[usable]["epoch"] + 1)
        if not run.path(RunFile.SETTINGS).exists() and not is_sealed(sound[usable]):
            _warn(f"{run.folder} has lost {RunFile.SETTINGS}: nothing tells the settings of before")
    return usable


def _tell_lost_epochs(run: Run, count: int) -> None:
    """Warn if the training curves lack some of the epochs that a checkpoint has seen."""
    there = {epoch for epoch in run.curves() if 0 <= epoch < count}
    if len(there) < count:
        first = next(epoch for epoch in range(count) if epoch not in there)
        _warn(
            f"{run.path(RunFile.CURVES)} has lost {count - len(there)} of {count} epochs, from "
            f"epoch {first + 1} on; the training goes on, the curves stay without them"
        )


def read_best(run: Run) -> dict[str, Any]:
    """Return the best checkpoint, checked to be one that this run has written, before it is tested.

    Raises:
        RunFileError: If it is missing, damaged or of another run.
    """
    path = run.path(RunFile.BEST)
    content = _content(path)
    if not path.exists() and not any(row.get("val/loss") for row in run.curves().values()):
        raise RunFileError(
            f"{run.folder}: no epoch was trained and validated to its end, so nothing can be "
            "tested: let trainer.max_epochs alone end the training, in a new folder"
        )
    if content is None:
        raise RunFileError(
            f"{path} is missing or damaged: put a copy of it back, or repeat the command to "
            "train again"
        )
    run.check_checkpoint(path, content)
    if names := not_finite(content["state_dict"]):
        _warn(f"the training has diverged: weights of {path} are not finite, as {names[0]}")
    return content


def _content(path: Path) -> dict[str, Any] | None:
    """Return the content of a checkpoint, None if it is damaged.

    Weights that are not finite are what a training may end with: then its digest says so.

    Raises:
        OSError, MemoryError: This machine cannot read it, whether it is damaged or not.
    """
    try:
        check_archive(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        check_size(content)
        sound = is_sealed(content) or not not_finite(content["state_dict"])
        return dict(content) if sound and content["epoch"] >= 0 else None
    except MemoryError:
        raise
    except Exception as error:  # whatever damage makes zipfile or torch raise
        if isinstance(error, OSError) and error.errno not in _OF_DAMAGE:
            raise OSError(error.errno, error.strerror, str(path)) from error
        return None


@rank_zero_only
def _warn(message: str) -> None:
    log.warning(message)
