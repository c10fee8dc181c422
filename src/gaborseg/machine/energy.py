"""Energy that processors and a GPU have used, where counters of theirs can be read."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_POWERCAP = Path("/sys/class/powercap")
_PACKAGES = "intel-rapl:*"  # also on processors of AMD; AMD and Intel count alike
_WHOLE_PLATFORM = "psys"
"""The name of a counter that holds what others count too."""


class EnergyMeter:
    """Adds up joules from the moment it is made, from the counters that this process may read.

    Processors: the packages of Linux' powercap (RAPL); their files are often the administrator's
    alone to read. GPU: NVIDIA's NVML, if the package ``nvidia-ml-py`` is installed. A counter
    tells what the whole device has used, by other programs too.

    Args:
        device: What is computed on; its counter is read beside those of the processors.
        powercap: Where Linux keeps the counters of processors.

    Attributes:
        parts: Whose counters are read: ``processors``, ``GPU``, both or none.
    """

    parts: tuple[str, ...]

    def __init__(self, device: "torch.device", powercap: Path = _POWERCAP) -> None:
        self._packages = dict(_readable_packages(powercap))
        self._gpu = _gpu_counter(device) if device.type == "cuda" else None
        self._gpu_start = 0 if self._gpu is None else self._gpu()
        self._joules = 0.0
        told = (("processors", self._packages), ("GPU", self._gpu))
        self.parts = tuple(name for name, counter in told if counter)

    def joules(self) -> float | None:
        """Return what has been used so far; None without a counter, and once one has failed.

        Call it at least every few minutes: a package's counter starts anew after a quarter of a
        megajoule, and only one such start can be noticed between two calls.
        """
        try:
            self._look()
            of_gpu = 0 if self._gpu is None else self._gpu() - self._gpu_start
            if of_gpu < 0:
                raise ValueError("the GPU's counter has started anew")
        except Exception:  # whatever a counter that is lost raises: no training ends for that
            self.parts = ()
        return self._joules + of_gpu / 1e3 if self.parts else None

    def _look(self) -> None:
        """Add what the packages have used since the last look."""
        for zone, before in self._packages.items():
            now = _count(zone / "energy_uj")
            again = _count(zone / "max_energy_range_uj") if now < before else 0
            self._joules += (now + again - before) / 1e6
            self._packages[zone] = now


def _readable_packages(powercap: Path) -> Iterator[tuple[Path, int]]:
    """Yield the folder of each package whose counter may be read, with microjoules so far."""
    for zone in sorted(powercap.glob(_PACKAGES)):
        try:
            is_part = ":" in zone.name.partition(":")[2]
            if not is_part and (zone / "name").read_text().strip() != _WHOLE_PLATFORM:
                _count(zone / "max_energy_range_uj")
                yield zone, _count(zone / "energy_uj")
        except (OSError, ValueError):
            continue


def _count(path: Path) -> int:
    return int(path.read_text())


def _gpu_counter(device: "torch.device") -> Any:
    """Return a function that reads a GPU's counter in millijoules; None if there is none."""
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return None
    import torch

    try:
        nvml.nvmlInit()
        uuid = torch.cuda.get_device_properties(device).uuid
        handle = nvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
        nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except (nvml.NVMLError, AttributeError):  # no counter, or a torch that tells no UUID
        return None
    return lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
