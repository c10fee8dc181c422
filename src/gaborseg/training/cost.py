"""What a run costs: the time of a training step and the memory at its peak."""

import time
from statistics import median
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from gaborseg.machine import device_name, peak_memory
from gaborseg.training.module import Batch

_WARM_UP = 3
"""Steps of each session that are not timed: libraries choose algorithms, memory grows."""


class Cost(Callback):
    """Times every training step of this process, and notes how much memory was held at most.

    A step is forward, backward and update, without the wait for its batch. On a GPU it is timed by
    the GPU itself, so that nothing waits for the clock. Times and peak travel in the checkpoints:
    a run in several sessions is measured as a whole.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.peak_memory = 0
        self.device: torch.device | None = None
        self._steps = 0
        self._marks: list[Any] = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Note when the step begins."""
        self._marks.append(_now(pl_module.device))

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Note when the step ends."""
        self._marks.append(_now(pl_module.device))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Turn the notes of the epoch into seconds."""
        self._measure(pl_module.device)

    def state_dict(self) -> dict[str, Any]:
        """Return what was measured so far."""
        return {"seconds": list(self.seconds), "peak_memory": self.peak_memory}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what earlier sessions have measured."""
        self.seconds = list(state_dict["seconds"])
        self.peak_memory = state_dict["peak_memory"]

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the peak of memory for the last time, and where all of it happened."""
        self._measure(pl_module.device)
        self.device = pl_module.device

    def record(self) -> dict[str, Any]:
        """Return ``seconds_per_step`` (the median), ``peak_memory_bytes`` and ``device``, by name.

        None stands for what nobody measured: a training of no more steps than the warm-up, the
        memory where the system does not tell.
        """
        return {
            "seconds_per_step": median(self.seconds) if self.seconds else None,
            "peak_memory_bytes": self.peak_memory or None,
            "device": device_name(self.device or torch.device("cpu")),
        }

    def _measure(self, device: torch.device) -> None:
        pairs = zip(self._marks[::2], self._marks[1::2], strict=False)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
            seconds = [start.elapsed_time(end) / 1000 for start, end in pairs]
        else:
            seconds = [end - start for start, end in pairs]
        self.seconds += seconds[max(0, _WARM_UP - self._steps) :]
        self._steps += len(seconds)
        self._marks.clear()
        self.peak_memory = max(self.peak_memory, peak_memory(device))


def _now(device: torch.device) -> Any:
    """The time on the processor in seconds, or an event on the GPU."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record(torch.cuda.current_stream(device))
    return event
