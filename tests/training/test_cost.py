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
    assert Cost().state_dict() == {"seconds": [], "peak_memory": 0, "energy": None}


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


class Meter:
    """Counters that have told so many joules since they were first looked at."""

    parts: tuple[str, ...] = ("processors",)
    told: float | None = 0.0

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def joules(self) -> float | None:
        return self.told


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> type[Meter]:
    found = type("Found", (Meter,), {})
    monkeypatch.setattr(cost, "EnergyMeter", found)
    return found


def begun(state: dict[str, Any] | None = None, processes: int = 1) -> Cost:
    """A session that goes on from another one's state."""
    session = Cost()
    if state is not None:
        session.load_state_dict(state)
    trainer: Any = SimpleNamespace(world_size=processes)
    session.on_fit_start(trainer, MODULE)
    return session


def test_the_energy_of_all_sessions_is_added_up(measured: type[Meter]) -> None:
    measured.told = 7.0
    session = begun(begun().state_dict())
    assert session.record()["energy_joules"] == 14
    assert session.record()["energy_of"] == "processors"


def test_a_machine_that_does_not_tell_leaves_no_energy(measured: type[Meter]) -> None:
    measured.told = None
    assert "energy_joules" not in begun().record()


def test_energy_is_not_told_if_one_session_does_not_know_it(measured: type[Meter]) -> None:
    measured.told = None
    state = begun().state_dict()
    measured.told = 7.0
    assert "energy_joules" not in begun(state).record()


def test_energies_of_different_parts_are_not_added(measured: type[Meter]) -> None:
    state = begun().state_dict()
    measured.parts = ("processors", "GPU")
    assert "energy_joules" not in begun(state).record()


def test_a_checkpoint_from_before_there_was_energy_has_none(measured: type[Meter]) -> None:
    assert "energy_joules" not in begun({"seconds": [], "peak_memory": 0}).record()


def test_the_energy_of_several_processes_is_not_measured(measured: type[Meter]) -> None:
    assert "energy_joules" not in begun(processes=2).record()


@pytest.mark.parametrize("hook", ["on_validation_batch_end", "on_test_batch_end"])
def test_counters_are_looked_at_outside_of_training_too(measured: type[Meter], hook: str) -> None:
    looks = []
    session = begun()
    assert isinstance(session._meter, Meter)
    session._meter.joules = lambda: looks.append(1)  # type: ignore[method-assign, assignment]
    getattr(session, hook)(NOTHING, MODULE, NOTHING, NOTHING, 0)
    getattr(session, hook)(NOTHING, MODULE, NOTHING, NOTHING, 1)  # within the minute
    assert looks == [1]
