import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gaborseg.training import Cost, cost

STATUS = Path("/proc/self/status")


class Clock:
    """A clock that shows what it is told."""

    now = 0.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(cost, "_now", lambda device: clock.now)
    return clock


MODULE: Any = SimpleNamespace(device=torch.device("cpu"))
NOTHING: Any = None


def train(meter: Cost, clock: Clock, seconds: list[float], module: Any = MODULE) -> None:
    """One epoch with steps of these lengths and long waits between them."""
    for number, length in enumerate(seconds):
        clock.now += 100
        meter.on_train_batch_start(NOTHING, module, NOTHING, number)
        clock.now += length
        meter.on_train_batch_end(NOTHING, module, NOTHING, NOTHING, number)
    meter.on_train_epoch_end(NOTHING, module)


def test_the_median_step_is_told_without_warm_up_and_waits(clock: Clock) -> None:
    meter = Cost()
    train(meter, clock, [90.0, 80.0])
    train(meter, clock, [70.0, 1.0, 2.0])
    train(meter, clock, [9.0])
    assert meter.record()["seconds_per_step"] == pytest.approx(2.0)


def test_a_training_of_nothing_but_warm_up_has_no_time(clock: Clock) -> None:
    meter = Cost()
    train(meter, clock, [1.0, 1.0, 1.0])
    assert meter.record()["seconds_per_step"] is None


def test_sessions_are_measured_as_one_run(clock: Clock) -> None:
    first, second = Cost(), Cost()
    train(first, clock, [9.0, 9.0, 9.0, 1.0, 1.0])
    second.load_state_dict(first.state_dict())
    train(second, clock, [9.0, 9.0, 9.0, 3.0])
    assert second.seconds == pytest.approx([1.0, 1.0, 3.0])
    assert second.record()["peak_memory_bytes"] >= first.record()["peak_memory_bytes"]


def test_a_step_that_broke_off_is_forgotten(clock: Clock) -> None:
    meter = Cost()
    train(meter, clock, [9.0, 9.0, 9.0, 1.0])
    meter.on_train_batch_start(NOTHING, MODULE, NOTHING, 0)
    meter.on_train_epoch_end(NOTHING, MODULE)
    train(meter, clock, [1.0])
    assert meter.seconds == pytest.approx([1.0, 1.0])


def test_the_state_is_plain() -> None:
    assert Cost().state_dict() == {"seconds": [], "peak_memory": 0}


def test_a_gpu_times_itself(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    class Event:
        def record(self, stream: object) -> None:
            self.milliseconds = 1000 * clock.now

        def elapsed_time(self, other: "Event") -> float:
            return other.milliseconds - self.milliseconds

    gpu: Any = SimpleNamespace(device=torch.device("cuda", 0))
    monkeypatch.undo()
    monkeypatch.setattr(torch.cuda, "Event", lambda enable_timing: Event())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 12345)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "GPU")
    meter = Cost()
    train(meter, clock, [9.0, 9.0, 9.0, 0.5], module=gpu)
    meter.on_test_end(NOTHING, gpu)
    assert meter.record() == {"seconds_per_step": 0.5, "peak_memory_bytes": 12345, "device": "GPU"}


@pytest.mark.skipif(not STATUS.exists(), reason="only Linux says it in two places")
def test_the_peak_of_memory_is_that_of_the_process() -> None:
    found = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text())
    assert found is not None
    assert cost.peak_memory(torch.device("cpu")) == pytest.approx(1024 * int(found[1]), rel=0.01)


def test_the_device_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Cost().record()["device"].endswith(("thread", "threads"))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device.index}")
    assert cost.device_name(torch.device("cuda", 1)) == "GPU 1"
