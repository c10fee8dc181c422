"""What a run costs: the time of a training step, the memory at its peak, and energy."""

import math
import time
from statistics import median
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from gaborseg.machine import EnergyMeter, device_name, peak_memory
from gaborseg.training.module import Batch

_WARM_UP = 3
"""Steps of each session that are not timed: libraries choose algorithms, memory grows."""
_OFTEN = 60.0
"""Seconds between two looks at the counters of energy, some of which start anew."""


class Cost(Callback):
    """Times every training step of this process, and notes memory at its peak, and energy.

    A step is forward, backward and update, without the wait for its batch. On a GPU it is timed by
    the GPU itself, so that nothing waits for the clock. Energy is that of the whole run from its
    first step to the end of its test, where the machine tells and one process trains. All of this
    travels in the checkpoints: a run in several sessions is measured as a whole.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.peak_memory = 0
        self.device: torch.device | None = None
        self._meter: EnergyMeter | None = None
        self._before: tuple[float, str] | None = (0.0, "")
        self._looked = -math.inf
        self._steps = 0
        self._marks: list[Any] = []

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to measure energy: of several processes each would count the same processors."""
        if trainer.world_size == 1:
            self._meter = EnergyMeter(pl_module.device)

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
        self._look_at_energy()

    def on_validation_batch_end(self, *arguments: Any) -> None:
        """Look at the counters of energy, of which a long validation could miss a new start."""
        self._look_at_energy()

    def on_test_batch_end(self, *arguments: Any) -> None:
        """Look at the counters of energy, of which a long test could miss a new start."""
        self._look_at_energy()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Turn the notes of the epoch into seconds."""
        self._measure(pl_module.device)

    def state_dict(self) -> dict[str, Any]:
        """Return what was measured so far."""
        energy = self._energy()
        told = None if energy is None else list(energy)
        return {"seconds": list(self.seconds), "peak_memory": self.peak_memory, "energy": told}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what earlier sessions have measured."""
        self.seconds = list(state_dict["seconds"])
        self.peak_memory = state_dict["peak_memory"]
        energy = state_dict.get("energy")  # older runs did not measure it
        self._before = None if energy is None else (energy[0], energy[1])

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the peak of memory for the last time, and where all of it happened."""
        self._measure(pl_module.device)
        self.device = pl_module.device

    def record(self) -> dict[str, Any]:
        """Return ``seconds_per_step`` (the median), ``peak_memory_bytes`` and ``device``, by name.

        None stands for what nobody measured: a training of no more steps than the warm-up, the
        memory where the system does not tell. ``energy_joules`` and ``energy_of`` (whose: of the
        processors, the GPU, or both) are there only where the machine tells.
        """
        energy = self._energy()
        return {
            "seconds_per_step": median(self.seconds) if self.seconds else None,
            "peak_memory_bytes": self.peak_memory or None,
            "device": device_name(self.device or torch.device("cpu")),
            **({"energy_joules": energy[0], "energy_of": energy[1]} if energy else {}),
        }

    def _look_at_energy(self) -> None:
        if self._meter is not None and time.monotonic() > self._looked + _OFTEN:
            self._meter.joules()
            self._looked = time.monotonic()

    def _energy(self) -> tuple[float, str] | None:
        """Return joules of all sessions, and whose; None if those of one are not known."""
        joules = None if self._meter is None else self._meter.joules()
        if self._meter is None or joules is None or self._before is None:
            return None
        parts = " and ".join(self._meter.parts)
        return (self._before[0] + joules, parts) if self._before[1] in ("", parts) else None

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
