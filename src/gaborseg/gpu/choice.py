"""How work goes on a card: what was measured there, and nothing else.

`python -m src.benchmark tune` times the ways and keeps the fastest, for this card and the versions
of what drives it. What has not been timed goes the plain way. A run keeps the choices that it began
with.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch
from filelock import FileLock
from torch import Tensor

from gaborseg.machine import cache_folder, load_json, read_text, write_text

Way = Literal["direct", "spectral"]
"""Computed kernels, convolved by cuDNN; or spectra, multiplied where they are made."""


@dataclass(frozen=True)
class Convolution:
    """What the time of a Gabor convolution depends on, beside the card.

    Attributes:
        samples: B.
        inputs: I.
        outputs: O.
        size: Voxels of the volumes along each axis.
        kernel_size: Side K in voxels.
        precision: `"float32"`, `"tf32"`, or the dtype of volumes of fewer digits.
    """

    samples: int
    inputs: int
    outputs: int
    size: tuple[int, ...]
    kernel_size: int
    precision: str

    def __str__(self) -> str:
        size = " x ".join(map(str, self.size))
        channels = f"{self.samples} x {self.inputs} -> {self.outputs}"
        return f"{channels}, {self.kernel_size}^3 on {size}, {self.precision}"


@dataclass(frozen=True)
class Choices:
    """How work goes on a card.

    Attributes:
        ways: The way of each convolution that was timed.
        graphs: Whether a training step's network is replayed as CUDA graphs.
    """

    ways: Mapping[str, Way]
    graphs: bool = False

    @classmethod
    def read(cls, record: Any) -> Choices:
        """The choices of a record, as `as_record` makes it.

        Raises:
            ValueError: It is no such record, or there is no such way.
        """
        ways = record.get("ways") if isinstance(record, dict) else None
        if not isinstance(ways, dict) or not isinstance(record.get("graphs"), bool):
            raise ValueError("choices for a GPU must be ways by convolution, and graphs or not")
        for name, chosen in ways.items():
            if chosen not in get_args(Way):
                told = " or ".join(get_args(Way))
                raise ValueError(f"the way of {name} must be {told}, got {chosen!r}")
        return cls(cast(dict[str, Way], ways), record["graphs"])

    def as_record(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"ways": dict(self.ways), "graphs": self.graphs}


_pinned: Choices | None = None


def pin(choices: Choices | None) -> None:
    """Keep to choices from now on, as a run does that goes on; None: to what is measured."""
    global _pinned
    _pinned = choices


def choices_for(device: torch.device) -> Choices:
    """How work goes on a card: by the pinned choices, else by those that were measured."""
    return _measured(device) if _pinned is None else _pinned


def way(convolution: Convolution, device: torch.device) -> Way:
    """The way that a convolution goes on a card."""
    return choices_for(device).ways.get(str(convolution), "direct")


def precision_of(volumes: Tensor) -> str:
    """How volumes are convolved on a card: in `"float32"`, `"tf32"` or a dtype of fewer digits."""
    if volumes.dtype == torch.float32 and torch.backends.cudnn.allow_tf32:
        return "tf32"
    return str(volumes.dtype).removeprefix("torch.")


@functools.cache
def _measured(device: torch.device) -> Choices:
    record = _read(_choices_file(device))
    return Choices.read(record) if record else Choices({})


def _read(path: Path) -> dict[str, Any]:
    """What was kept before; empty if nothing was.

    Raises:
        ValueError: The file is damaged.
    """
    if not path.exists():
        return {}
    try:
        record = load_json(read_text(path))
        Choices.read(record)
        if not isinstance(record.get("milliseconds", {}), dict):
            raise ValueError("milliseconds must be by convolution")
    except ValueError as error:
        raise ValueError(f"{path}: {error}; delete it, and measure again") from error
    return cast(dict[str, Any], record)


def keep(choices: Choices, device: torch.device, milliseconds: Mapping[str, Any]) -> Path:
    """Write down what was measured on a card, beside what was before, and return the file.

    Args:
        choices: The fastest ways.
        device: The card.
        milliseconds: What was measured, for readers.

    Raises:
        ValueError: The file of before is damaged; it stays.
    """
    path = _choices_file(device)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):  # cards of one kind may be measured at once
        before = _read(path)
        record = {
            **_driven_by(device),
            "ways": {**before.get("ways", {}), **choices.ways},
            "graphs": choices.graphs,
            "milliseconds": {**before.get("milliseconds", {}), **milliseconds},
        }
        write_text(path, json.dumps(record, indent=2) + "\n")
    _measured.cache_clear()
    return path


def _choices_file(device: torch.device) -> Path:
    """Where the choices for a card are kept."""
    driven_by = _driven_by(device)
    name = "".join(c if c.isalnum() else "-" for c in str(driven_by["card"]))
    digest = hashlib.sha256(json.dumps(driven_by, sort_keys=True).encode()).hexdigest()
    return cache_folder() / "gpu" / f"{name}-{digest[:12]}.json"


def _driven_by(device: torch.device) -> dict[str, Any]:
    """The card, and the versions of all that its speed depends on."""
    try:
        from triton import __version__ as triton
    except ImportError:
        triton = None
    driver = getattr(torch._C, "_cuda_getDriverVersion", lambda: None)
    return {
        "card": torch.cuda.get_device_name(device),
        "driver": driver(),
        "torch": torch.__version__,
        "cudnn": torch.backends.cudnn.version(),
        "triton": triton,
    }
