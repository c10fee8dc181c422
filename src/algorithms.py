"""How the Gabor layers of a network convolve on this machine, timed once and kept.

    python -m src.algorithms kernel=gabor size=64

Layers that are not in the table of this machine are timed, directly and by spectra, forward and
backward. ``src.train`` with ``algorithm=auto`` takes the faster way of every layer in the table.
"""

import json
import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import hydra
import rich
import torch
from omegaconf import DictConfig
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

from src.allocator import keep_freed_memory
from src.benchmarks.report import written
from src.benchmarks.timing import interleave
from src.choices import takes_kernels
from src.command import build, errors_in_log, mistakes_as_user_errors, run_command, show
from src.layers import GaborConv3d
from src.layers.algorithm import (
    Algorithm,
    Measurement,
    layer_name,
    read_table,
    table_file,
    table_rows,
)
from src.layers.spectral import LARGEST_NATIVE_KERNEL, native_available
from src.runs import write_atomically

log = logging.getLogger(__name__)

PRECISIONS = ("32-true", "bf16-mixed", "64-true")
REPEATS = 3
LARGEST_WORK = 2e9
"""Products of a direct convolution that is timed as a whole, half a second on two cores."""


class Layer(NamedTuple):
    """A Gabor layer of a network.

    Attributes:
        out_channels: O.
        kernel_size: Side of its kernels, in voxels.
        shape: Of its input, (B, I, D, H, W).
        differentiable: Whether the gradient of its input is asked for: not of an image.
    """

    out_channels: int
    kernel_size: int
    shape: tuple[int, ...]
    differentiable: bool


@hydra.main(version_base="1.3", config_path="../conf", config_name="algorithms")
def main(config: DictConfig) -> None:
    """Time what is not in the table, and show it."""
    with errors_in_log():
        keep_freed_memory()
        show_choices(config)


def show_choices(config: DictConfig) -> None:
    """Show the lines of the configured network, timed now where the table lacks them.

    Raises:
        UserError: A setting is wrong, or the table is damaged.
    """
    with mistakes_as_user_errors():
        layers = named_layers(config)
        table = read_table(table_file())
    if not native_available():
        log.info("There is no native code: every Gabor layer multiplies spectra in torch.")
        return
    missing = [name for name in layers if config.again or name not in table]
    for name in progress(missing):
        table[name] = measure(layers[name], config.precision)
        keep(table)
    show(as_table({name: table[name] for name in layers}))
    log.info(f"{len(missing)} layers timed now. The table of this machine: {table_file()}")


def named_layers(config: DictConfig) -> dict[str, Layer]:
    """The different Gabor layers of the configured network, by their name in the table.

    Raises:
        ValueError: There are none, or a setting is out of range.
    """
    for key in ("size", "batch_size"):
        if not isinstance(config[key], int) or config[key] < 1:
            raise ValueError(f"{key} must be a positive integer, got {config[key]}")
    if config.precision not in PRECISIONS:
        raise ValueError(f"precision must be {' | '.join(PRECISIONS)}, got {config.precision}")
    if not takes_kernels(config):
        raise ValueError(f"network must take kernels, got {config.network._target_}")
    image_size = (config.batch_size, config.network.in_channels, *[config.size] * 3)
    layers = layers_of(config.network, image_size)
    if not layers:
        kind = f"Gabor layers of eq. (2), up to {LARGEST_NATIVE_KERNEL}³ taps"
        raise ValueError(f"kernel must have {kind}, got {config.kernel.name}")
    return {name_of(layer, config.precision): layer for layer in layers}


def layers_of(node: Any, image_size: tuple[int, ...]) -> list[Layer]:
    """The Gabor layers with a choice that an image goes through, in their order."""
    layers: list[Layer] = []

    def stand_in(layer: GaborConv3d, x: Tensor) -> Tensor:
        if layer.kernel_size <= LARGEST_NATIVE_KERNEL:
            shape = tuple(x.shape)
            layers.append(Layer(layer.out_channels, layer.kernel_size, shape, x.requires_grad))
        return x.new_empty(len(x), layer.out_channels, *x.shape[2:])

    network: nn.Module = build(node).to("meta")  # where nothing is computed
    for module in network.modules():
        if isinstance(module, GaborConv3d):
            module.forward = partial(stand_in, module)  # type: ignore[method-assign]
    network(torch.empty(image_size, device="meta"))
    return layers


def name_of(layer: Layer, precision: str) -> str:
    """The name of a layer in the table."""
    with in_precision(precision):
        x = torch.empty(1, dtype=dtype_of(precision)).expand(layer.shape)
        return layer_name(x, layer.out_channels, layer.kernel_size)


def measure(layer: Layer, precision: str) -> Measurement:
    """Time a layer both ways, forward and backward; the medians of rounds that take turns.

    A large direct convolution is timed on some planes of the volume, which it takes one by one.
    """
    depth = layer.shape[2]
    planes = planes_to_time(layer)
    candidates = {
        "direct": step(layer, "direct", precision, planes),
        "spectral": step(layer, "spectral", precision, depth),
    }
    direct, spectral = interleave(candidates, REPEATS).values()
    share = tap_planes(planes, layer.kernel_size) / tap_planes(depth, layer.kernel_size)
    return Measurement(1e3 * direct.spread.median / share, 1e3 * spectral.spread.median)


def planes_to_time(layer: Layer) -> int:
    """How many planes of a volume a direct convolution is timed on."""
    batch, in_channels, depth, *plane = layer.shape
    pairs = in_channels * layer.out_channels
    work = batch * pairs * layer.kernel_size**3 * plane[0] * plane[1]
    return min(depth, max(2 * layer.kernel_size, int(LARGEST_WORK / work)))


def tap_planes(depth: int, kernel_size: int) -> int:
    """How often a plane of taps meets a plane of voxels, and not padding.

    >>> tap_planes(1, 3), tap_planes(2, 3), tap_planes(10, 3)
    (1, 4, 28)
    """
    half = kernel_size // 2
    return sum(min(z, half) + 1 + min(depth - 1 - z, half) for z in range(depth))


def step(layer: Layer, algorithm: Algorithm, precision: str, planes: int) -> Callable[[], object]:
    """A call that runs a layer and its gradients on the first planes of a random volume."""
    batch, channels, _, *plane = layer.shape
    size = (batch, channels, planes, *plane)
    x = torch.randn(size, dtype=dtype_of(precision), requires_grad=layer.differentiable)
    module = GaborConv3d(channels, layer.out_channels, layer.kernel_size, algorithm=algorithm).to(
        x.dtype
    )
    inputs = [x, *module.parameters()] if layer.differentiable else [*module.parameters()]

    def call() -> None:
        with in_precision(precision):
            y = module(x)
        torch.autograd.grad(y, inputs, torch.ones_like(y))

    return call


def dtype_of(precision: str) -> torch.dtype:
    """The dtype of images and parameters."""
    return torch.float64 if precision == "64-true" else torch.float32


def in_precision(precision: str) -> AbstractContextManager[object]:
    """What a forward pass in this precision runs in."""
    return torch.autocast("cpu", torch.bfloat16) if precision == "bf16-mixed" else nullcontext()


def keep(table: dict[str, Measurement]) -> None:
    """Write the table of this machine."""
    path = table_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(path) as file:
        json.dump(list(table_rows(table)), file, indent=2, ensure_ascii=False)
        file.write("\n")


def as_table(measured: dict[str, Measurement]) -> Table:
    """The measurements for the screen."""
    title = f"Gabor layers on this CPU, {torch.get_num_threads()} threads, forward and backward"
    table = Table("layer", title=title)
    for heading in ("direct [ms]", "spectral [ms]", "auto takes"):
        table.add_column(heading, justify="right")
    for name, times in measured.items():
        table.add_row(name, written(times.direct), written(times.spectral), times.faster)
    return table


def progress(names: list[str]) -> Iterable[str]:
    """Yield names with a progress bar, if anybody is looking."""
    quiet = not rich.get_console().is_terminal
    return track(names, description="timing layers", disable=quiet, transient=True)


if __name__ == "__main__":
    run_command(main)
