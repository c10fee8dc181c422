"""Counters of energy: those of a made-up folder, and of a made-up NVML."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from gaborseg.machine import EnergyMeter

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
RANGE = 262_143_328_850


def package(folder: Path, zone: str, count: int, name: str = "package-0") -> Path:
    """A counter as Linux has it; the file that tells microjoules."""
    (folder / zone).mkdir()
    (folder / zone / "name").write_text(f"{name}\n")
    (folder / zone / "max_energy_range_uj").write_text(f"{RANGE}\n")
    path = folder / zone / "energy_uj"
    path.write_text(f"{count}\n")
    return path


def test_all_packages_are_added_up_and_neither_their_parts_nor_the_platform(tmp_path: Path) -> None:
    counters = [package(tmp_path, f"intel-rapl:{n}", 5_000_000) for n in range(2)]
    others = [package(tmp_path, "intel-rapl:0:0", 0, "core")]
    others += [package(tmp_path, "intel-rapl:2", 0, "psys")]
    meter = EnergyMeter(CPU, tmp_path)
    for path in (*counters, *others):
        path.write_text("7500000\n")
    assert meter.parts == ("processors",)
    assert meter.joules() == pytest.approx(5)
    assert meter.joules() == pytest.approx(5)


def test_a_counter_that_starts_anew_goes_on(tmp_path: Path) -> None:
    path = package(tmp_path, "intel-rapl:0", RANGE - 1_000_000)
    meter = EnergyMeter(CPU, tmp_path)
    path.write_text("2000000\n")
    assert meter.joules() == pytest.approx(3)
    path.write_text("3000000\n")
    assert meter.joules() == pytest.approx(4)


@pytest.mark.parametrize("content", [None, "", "unknown"])
def test_a_counter_that_cannot_be_read_is_none(tmp_path: Path, content: str | None) -> None:
    path = package(tmp_path, "intel-rapl:0", 0)
    path.unlink() if content is None else path.write_text(content)
    meter = EnergyMeter(CPU, tmp_path)
    assert meter.parts == ()
    assert meter.joules() is None


def test_a_counter_that_is_lost_ends_the_measurement_alone(tmp_path: Path) -> None:
    path = package(tmp_path, "intel-rapl:0", 0)
    meter = EnergyMeter(CPU, tmp_path)
    path.unlink()
    assert meter.joules() is None
    path.write_text("1000000\n")
    assert meter.joules() is None


def test_a_machine_without_the_folder_tells_nothing(tmp_path: Path) -> None:
    assert EnergyMeter(CPU, tmp_path / "none").joules() is None


class Nvml(ModuleType):
    """A library with one GPU, whose counter may be missing."""

    NVMLError = type("NVMLError", (Exception,), {})

    def __init__(self, millijoules: int | None) -> None:
        super().__init__("pynvml")
        self.millijoules = millijoules

    def nvmlInit(self) -> None:  # noqa: N802 - the library's name
        """Nothing to begin."""

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        return uuid

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:  # noqa: N802
        if self.millijoules is None or handle != "GPU-1-2-3":
            raise self.NVMLError
        return self.millijoules


@pytest.fixture
def one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    told = SimpleNamespace(uuid="1-2-3")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: told)


@pytest.mark.usefixtures("one_gpu")
def test_a_gpu_is_added_to_the_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, nvml = package(tmp_path, "intel-rapl:0", 0), Nvml(40_000)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    meter = EnergyMeter(GPU, tmp_path)
    path.write_text("1000000\n")
    nvml.millijoules = 42_500
    assert meter.parts == ("processors", "GPU")
    assert meter.joules() == pytest.approx(3.5)


@pytest.mark.usefixtures("one_gpu")
def test_energy_is_unknown_once_a_gpu_counts_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml = Nvml(40_000)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    meter = EnergyMeter(GPU, tmp_path)
    nvml.millijoules = 500
    assert meter.joules() is None


@pytest.mark.usefixtures("one_gpu")
def test_a_gpu_without_a_counter_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(None))
    assert EnergyMeter(GPU, tmp_path).parts == ()


def test_without_the_package_no_gpu_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert EnergyMeter(GPU, tmp_path).parts == ()
