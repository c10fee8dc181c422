"""How a Gabor layer convolves: by spectra, or directly with the kernels that it synthesises.

`auto` is a rule that takes no time: by spectra on a CPU, directly elsewhere.
`python -m src.algorithms` times both ways for the layers of a network, once for each machine, and
keeps the table; in runs that start later, layers that it found to be faster directly are exceptions
to the rule.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from src.native import cache_folder
from src.native.library import fingerprint

Algorithm = Literal["auto", "direct", "spectral"]
Way = Literal["direct", "spectral"]

SOURCES = Path(__file__).parent / "csrc"
CLEARLY_FASTER = 0.9


class Measurement(NamedTuple):
    """Time of a layer, forward and backward, in milliseconds: directly, and by spectra."""

    direct: float
    spectral: float

    @property
    def faster(self) -> Way:
        """The way to take: direct if it needs at most nine tenths of the other's time."""
        return "direct" if self.direct <= CLEARLY_FASTER * self.spectral else "spectral"


def check_algorithm(algorithm: str) -> None:
    """Check that there is such an algorithm.

    Raises:
        ValueError: There is not.
    """
    if algorithm not in get_args(Algorithm):
        options = " or ".join(get_args(Algorithm))
        raise ValueError(f"algorithm must be {options}, got {algorithm!r}")


def layer_name(x: Tensor, out_channels: int, kernel_size: int) -> str:
    """What the time of a layer depends on, as a line of the table.

    The dtype is the one in which a direct convolution of x would work.
    """
    device = x.device.type
    autocast = torch.is_autocast_enabled(device)
    dtype = torch.get_autocast_dtype(device) if autocast else x.dtype
    batch, in_channels, *size = x.shape
    return (
        f"{in_channels} to {out_channels} at {' x '.join(map(str, size))}, "
        f"{kernel_size}³ taps, batch {batch}, {str(dtype).partition('.')[2]}"
    )


def table_file() -> Path:
    """Where the table of this machine is kept: one for each number of threads.

    The name changes with the processor, torch and the native code.
    """
    name = f"{fingerprint(SOURCES)}-threads-{torch.get_num_threads()}.json"
    return cache_folder().parent / "algorithms" / name


def read_table(path: Path) -> dict[str, Measurement]:
    """Return the measurements in a file by the layer's name; none if there is no such file.

    Raises:
        ValueError: It is no such table.
    """
    if not path.exists():
        return {}
    try:
        rows = json.loads(path.read_text())
        return {row["layer"]: Measurement(row["direct_ms"], row["spectral_ms"]) for row in rows}
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is damaged; delete it, and measure again") from error


def table_rows(table: Mapping[str, Measurement]) -> Iterable[dict[str, str | float]]:
    """Yield the rows of the file that `read_table` reads."""
    for layer, measured in table.items():
        times = {f"{way}_ms": round(time, 3) for way, time in measured._asdict().items()}
        yield {"layer": layer, **times, "faster": measured.faster}


def faster_directly() -> list[str]:
    """Return the names of the layers that were measured on this machine to be faster directly."""
    table = read_table(table_file())
    return [layer for layer, measured in table.items() if measured.faster == "direct"]
