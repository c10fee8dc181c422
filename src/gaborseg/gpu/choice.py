"""Which way a convolution goes on a card: what was measured there, and nothing else.

`python -m src.benchmark tune` times the ways and keeps the fastest, for this card and these versions
of what it is driven by. What has not been timed goes the plain way. A run keeps the choices that it
began with.
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


_pinned: dict[str, Way] | None = None


def way(convolution: Convolution, device: torch.device) -> Way:
    """The way that a convolution goes on a card."""
    choices = measured_ways(device) if _pinned is None else _pinned
    return choices.get(str(convolution), "direct")


def pin(choices: Mapping[str, str] | None) -> None:
    """Keep to choices from now on, those of a run that goes on; None: to what is measured.

    Raises:
        ValueError: There is no such way.
    """
    global _pinned
    _pinned = None if choices is None else _checked(choices)


def precision_of(volumes: Tensor) -> str:
    """How volumes are convolved on a card: `"float32"`, `"tf32"`, or their dtype of fewer digits."""
    if volumes.dtype == torch.float32 and torch.backends.cudnn.allow_tf32:
        return "tf32"
    return str(volumes.dtype).removeprefix("torch.")


@functools.cache
def measured_ways(device: torch.device) -> dict[str, Way]:
    """The fastest way of each convolution that was timed on a card."""
    path = choices_file(device)
    if not path.exists():
        return {}
    record = load_json(read_text(path))
    return _checked({name: row["way"] for name, row in record["convolutions"].items()})


def keep(device: torch.device, rows: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write down what was measured on a card, beside what was before, and return the file.

    Args:
        device: The card.
        rows: By convolution: its `"way"`, and what else is worth knowing.
    """
    path = choices_file(device)
    before = load_json(read_text(path))["convolutions"] if path.exists() else {}
    record = {**_driven_by(device), "convolutions": {**before, **rows}}
    write_text(path, json.dumps(record, indent=2) + "\n")
    measured_ways.cache_clear()
    return path


def choices_file(device: torch.device) -> Path:
    """Where the choices for a card are kept."""
    driven_by = _driven_by(device)
    name = "".join(c if c.isalnum() else "-" for c in str(driven_by["card"]))
    digest = hashlib.sha256(json.dumps(driven_by, sort_keys=True).encode()).hexdigest()
    return cache_folder() / "gpu" / f"{name}-{digest[:12]}.json"


def _driven_by(device: torch.device) -> dict[str, Any]:
    """The card, and the versions of all that its speed depends on."""
    import triton

    driver = getattr(torch._C, "_cuda_getDriverVersion", lambda: None)
    return {
        "card": torch.cuda.get_device_name(device),
        "driver": driver(),
        "torch": torch.__version__,
        "cudnn": torch.backends.cudnn.version(),
        "triton": triton.__version__,
    }


def _checked(choices: Mapping[str, str]) -> dict[str, Way]:
    """Choices by convolution.

    Raises:
        ValueError: There is no such way.
    """
    for name, chosen in choices.items():
        if chosen not in get_args(Way):
            told = " or ".join(get_args(Way))
            raise ValueError(f"the way of {name} must be {told}, got {chosen!r}")
    return cast(dict[str, Way], dict(choices))
