"""The network's spatial convolutions: Gabor kernels against naive ones and against 3x3x3."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gaborseg.benchmarks.memory import extra_peak_memory
from gaborseg.benchmarks.options import Benchmark, check_size
from gaborseg.benchmarks.plain import PlainGaborConv3d, gabor_kernel_on_grid, plain_conv3d
from gaborseg.benchmarks.report import Cell, Table
from gaborseg.benchmarks.timing import Timings, interleave, total
from gaborseg.layers import ConventionalConv3d, GaborConv3d, gabor_kernel, initial_gabor, synthesise
from gaborseg.networks import VNetDS

_KERNEL_SIZE = 7
_NUM_LEVELS = 5


class Shape(NamedTuple):
    """What tells the network's layers apart."""

    level: int
    in_channels: int
    out_channels: int
    size: int

    def __str__(self) -> str:
        return f"{self.in_channels} to {self.out_channels} at {self.size}³"


_LARGEST = Shape(level=4, in_channels=192, out_channels=192, size=4)
"""The layer whose naive synthesis takes the most memory."""


@dataclass(frozen=True)
class LayerBenchmark(Benchmark):
    """Gabor layers of the network, forward and backward; synthesis of its kernels; memory.

    Attributes:
        size: Side of the network's input volume, in voxels.
        levels: Levels of the network whose layers are timed, 0 (full size) ... 4 (bottom).

    Raises:
        ValueError: An option is out of range.
    """

    size: int = 64
    levels: tuple[int, ...] = (2, 3, 4)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size(self.size)
        if not self.levels or not set(self.levels) <= set(range(_NUM_LEVELS)):
            raise ValueError(f"levels must be of 0 ... {_NUM_LEVELS - 1}, got {list(self.levels)}")

    def tables(self) -> list[Table]:
        """Time layers and synthesis, and measure the memory of the largest layer."""
        shapes = network_shapes(self.size)
        chosen = Counter({shape: n for shape, n in shapes.items() if shape.level in self.levels})
        memory = memory_table(_LARGEST)  # first: see extra_peak_memory
        return [layers_table(chosen, self.repeats), synthesis_table(shapes, self.repeats), memory]


def network_shapes(size: int) -> Counter[Shape]:
    """How often each shape of spatial convolution occurs in the network, finest level first."""
    shapes: Counter[Shape] = Counter()

    def record(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        side = output.shape[-1]
        channels = inputs[0].shape[1], output.shape[1]
        shapes[Shape((size // side).bit_length() - 1, *channels, side)] += 1

    with torch.device("meta"), torch.no_grad():
        network = VNetDS(1, 20, [ConventionalConv3d] * _NUM_LEVELS)
        for layer in network.modules():
            if isinstance(layer, ConventionalConv3d):
                layer.register_forward_hook(record)
        network(torch.empty(1, 1, size, size, size))
    return Counter({shape: shapes[shape] for shape in sorted(shapes)})


def layers_table(shapes: Counter[Shape], repeats: int) -> Table:
    """Forward and backward of every shape, and of all layers together."""
    timings = {shape: _time_layer(shape, repeats) for shape in shapes}
    rows = [_layer_row(str(shape), shapes[shape], timings[shape]) for shape in shapes]
    sums = {
        name: total((shapes[shape], timings[shape][name]) for shape in shapes)
        for name in next(iter(timings.values()))
    }
    rows.append(_layer_row("all", shapes.total(), sums))
    title = f"Gabor layers of {_KERNEL_SIZE}³, float32, batch 1, forward and backward"
    return Table(title, rows)


def _layer_row(name: str, count: int, timings: dict[str, Timings]) -> dict[str, Cell]:
    """One line of the table of layers."""
    this = timings["this"]
    return {
        "layer": name,
        "layers": count,
        "this [ms]": this.spread.scaled(1e3),
        "naive / this": timings["naive"].ratio(this),
        "this / stock 3³": this.ratio(timings["stock 3³"]),
        "this / 3³ here": this.ratio(timings["3³ here"]),
        "this / 3³ in oneDNN": this.ratio(timings["3³ in oneDNN"]),
        "again / this": timings["again"].ratio(this),
    }


def _time_layer(shape: Shape, repeats: int) -> dict[str, Timings]:
    """Time one shape in all ways.

    torch does not call oneDNN for a 3x3x3 convolution of one small sample, but does for two: half
    the time of a batch of two stands for the best that oneDNN can do. The package's own 3x3x3 layer
    comes near it by cutting the sample in two.
    """
    candidates = _layer_candidates(shape)
    timings = interleave(candidates, repeats)
    return timings | {"3³ in oneDNN": timings["3³ in oneDNN"].scaled(1 / 2)}


def _layer_candidates(shape: Shape) -> dict[str, Callable[[], object]]:
    """Forward and backward of a layer of this shape, by name of the way."""
    channels = shape.in_channels, shape.out_channels
    this = _forward_backward(GaborConv3d(*channels, _KERNEL_SIZE), shape)
    return {
        "this": this,
        "naive": _forward_backward(PlainGaborConv3d(*channels, _KERNEL_SIZE), shape),
        "stock 3³": _forward_backward(plain_conv3d(*channels), shape),
        "3³ here": _forward_backward(ConventionalConv3d(*channels), shape),
        "3³ in oneDNN": _forward_backward(plain_conv3d(*channels), shape, batch=2),
        "again": this,
    }


def _forward_backward(layer: nn.Module, shape: Shape, batch: int = 1) -> Callable[[], object]:
    """A call that runs a layer and all gradients that training needs: by an image it needs none."""
    space = (shape.size,) * 3
    image = shape.in_channels == 1
    x = torch.randn(batch, shape.in_channels, *space, requires_grad=not image)
    grad = torch.randn(batch, shape.out_channels, *space)
    inputs = [*layer.parameters()] if image else [x, *layer.parameters()]
    return lambda: torch.autograd.grad(layer(x), inputs, grad)


def synthesis_table(shapes: Counter[Shape], repeats: int) -> Table:
    """Synthesis of all the network's kernels, and the gradient by their parameters."""
    layers = [_Pairs.of(shape) for shape in shapes.elements()]
    this = partial(_synthesise_all, synthesise, layers)
    candidates = {
        "this": this,
        "separable, in torch": partial(_synthesise_all, gabor_kernel, layers),
        "naive": partial(_synthesise_all, gabor_kernel_on_grid, layers),
        "again": this,
    }
    timings = interleave(candidates, repeats)
    rows: list[dict[str, Cell]] = [
        {
            "synthesis": name,
            "time [ms]": timing.spread.scaled(1e3),
            "time / this": timing.ratio(timings["this"]),
        }
        for name, timing in timings.items()
    ]
    count = sum(layer.parameters[0].numel() for layer in layers)
    title = f"Synthesis of {count:,} kernels of {_KERNEL_SIZE}³, float32, forward and backward"
    return Table(title, rows)


class _Pairs(NamedTuple):
    """The Gabor parameters of a layer, (8, I, O), and a gradient of its kernels."""

    parameters: Tensor
    grad: Tensor

    @classmethod
    def of(cls, shape: Shape) -> "_Pairs":
        """Initial parameters and a random gradient for a layer of this shape."""
        channels = shape.in_channels, shape.out_channels
        grad = torch.randn(*reversed(channels), *(_KERNEL_SIZE,) * 3)
        return cls(initial_gabor(*channels, _KERNEL_SIZE).requires_grad_(), grad)


def _synthesise_all(function: Callable[[Tensor, int], Tensor], layers: list[_Pairs]) -> None:
    """Synthesise the kernels of all layers, one after the other, forward and backward."""
    for parameters, grad in layers:
        torch.autograd.grad(function(parameters, _KERNEL_SIZE), parameters, grad)


def memory_table(shape: Shape) -> Table:
    """What a layer of this shape needs in memory beside its input and its parameters."""
    candidates = _layer_candidates(shape)
    rows: list[dict[str, Cell]] = [
        {"layer": name, "extra memory [MiB]": extra_peak_memory(candidates[name])}
        for name in ("this", "naive", "stock 3³", "3³ here")
    ]
    return Table(f"Peak memory of {shape}, float32, batch 1, forward and backward", rows)
