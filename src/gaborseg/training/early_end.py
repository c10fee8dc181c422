"""Why a training ended before it had all its epochs."""

from typing import Any, cast

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, EarlyStopping, Timer

from gaborseg.training.callbacks import StopAtNaN

_OURS = ("gaborseg.", "pytorch_lightning.")
_SIGNAL = " Signaling Trainer to stop."


def early_end(trainer: pl.Trainer) -> dict[str, Any]:
    """Return after how many epochs a training was stopped, by what and why; empty if it was not.

    Args:
        trainer: It has trained, and no pause was asked for.

    Returns:
        For ``done.json``: ``epoch`` and ``epochs``, which is how many there were to be, ``by``, and
        ``reason``, which may be empty.
    """
    epochs, asked = trainer.current_epoch, trainer.max_epochs
    if asked is None or not 0 <= epochs < asked:
        return {}
    by, reason = _stopper(trainer)
    return {"epoch": epochs, "epochs": asked, "by": by, "reason": reason}


def _stopper(trainer: pl.Trainer) -> tuple[str, str]:
    """Return what has stopped a training, and its reason if it gives one."""
    callbacks: list[Callback] = cast(Any, trainer).callbacks
    for callback in callbacks:
        if reason := _reason(callback):
            return type(callback).__name__, reason
    if 0 <= trainer.max_steps <= trainer.global_step:
        return f"trainer.max_steps={trainer.max_steps}", ""
    own = [type(c).__name__ for c in callbacks if not type(c).__module__.startswith(_OURS)]
    return " or ".join(own) or "a callback", ""


def _reason(callback: Callback) -> str:
    """Return why a callback has stopped the training, if it has and it is known how it tells."""
    if isinstance(callback, EarlyStopping):
        return (callback.stopping_reason_message or "").removesuffix(_SIGNAL).rstrip(".")
    if isinstance(callback, StopAtNaN) and callback.stopped:
        return "the training loss was no number"
    left = callback.time_remaining() if isinstance(callback, Timer) else None
    return "" if left is None or left > 0 else "its time was over"
