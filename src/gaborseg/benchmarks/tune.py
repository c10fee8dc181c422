"""Which way the convolutions of a network go fastest on this machine's GPU, for its trainings."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import cast, get_args

import torch
from torch import Tensor, nn

from gaborseg.benchmarks.gpu import configuration, costs, in_precision, training_step
from gaborseg.benchmarks.options import Benchmark, at_least, check_size
from gaborseg.benchmarks.report import Cell, Table
from gaborseg.benchmarks.timing import Spread
from gaborseg.gpu import Choices, Convolution, Way, choices_for, keep, pin
from gaborseg.interface import build
from gaborseg.layers import GaborConv3d
from gaborseg.training import GraphedNetwork

_NUM_CLASSES = 20
_PRECISIONS = ("float32", "tf32", "bf16-mixed")
_NAMES = {"bf16-mixed": "bfloat16"}


@dataclass(frozen=True)
class TuneBenchmark(Benchmark):
    """The ways of every Gabor convolution of a network, timed; the fastest is kept for this card.

    Attributes:
        device: As torch names it.
        kernel: The network, by `conf/kernel`; that of Gabor kernels alone has all layers.
        size: Voxels a side of the volumes, a multiple of 16.
        batch: Volumes of a step.
        repeats: Timed rounds, after one to warm up.
    """

    device: str = "cuda"
    kernel: str = "gabor"
    size: int = 128
    batch: int = 1
    repeats: int = 7

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size(self.size)
        at_least("batch", self.batch, 1)
        if torch.device(self.device).type != "cuda" or not torch.cuda.is_available():
            raise ValueError(f"device must be a GPU that torch can use, got {self.device!r}")
        choices_for(torch.device(self.device))  # where they are kept, a damaged file is in the way

    def tables(self) -> list[Table]:
        """Measure, keep the choices, and return the tables."""
        device = torch.device(self.device)
        layers = _layers(self.kernel, (self.batch, 1, *[self.size] * 3))
        rows = [
            _row(layer, shape, precision, self, device)
            for precision in _PRECISIONS
            for layer, shape in layers.items()
        ]
        ways = {str(row["convolution"]): cast(Way, row["way"]) for row in rows}
        with _pinned(Choices(ways)):
            steps = _steps(self, device)
        choices = Choices(ways, graphs=_graphs_pay(steps))
        path = keep(choices, device, {str(row["convolution"]): _medians(row) for row in rows})
        kept = f"choices kept in the cache, gpu/{path.name}"
        return [
            Table(f"Gabor convolutions, both ways, {torch.cuda.get_device_name(device)}", rows),
            Table(f"Step of kernel={self.kernel}, batch {self.batch}, bf16-mixed; {kept}", steps),
        ]


def _steps(options: TuneBenchmark, device: torch.device) -> list[dict[str, Cell]]:
    """Time a training step, launched kernel by kernel and replayed as graphs."""
    config = configuration(options.kernel)
    network: nn.Module = build(config.network, in_channels=1, num_classes=_NUM_CLASSES).to(device)
    ways: dict[str, Callable[[Tensor], Tensor]] = {
        "launched": network,
        "graphs": GraphedNetwork(network),
    }
    steps = {}
    for name, called in ways.items():
        step = training_step(
            config, network, options.size, device, batch=options.batch, called=called
        )
        steps[name] = partial(in_precision, "bf16-mixed", device, step)
    return [{"step": name, **cost} for name, cost in costs(steps, options.repeats, device).items()]


def _graphs_pay(steps: list[dict[str, Cell]]) -> bool:
    """Tell whether a replayed step is clearly faster than a launched one."""
    launched, graphs = (cast(Spread, row["time [ms]"]) for row in steps)
    return graphs.high < launched.low


def _layers(kernel: str, shape: tuple[int, ...]) -> Mapping[tuple[int, ...], tuple[int, ...]]:
    """The shapes of a network's Gabor layers, (I, O, K), each with those of its input."""
    found: dict[tuple[int, ...], tuple[int, ...]] = {}

    def note(layer: nn.Module, arguments: tuple[Tensor]) -> None:
        assert isinstance(layer, GaborConv3d)
        found[layer.in_channels, layer.out_channels, layer.kernel_size] = arguments[0].shape

    node = configuration(kernel).network
    network: nn.Module = build(node, in_channels=1, num_classes=_NUM_CLASSES).to("meta")
    for layer in network.modules():
        if isinstance(layer, GaborConv3d):
            layer.register_forward_pre_hook(note)
    network(torch.empty(shape, device="meta"))
    return found


def _row(
    layer: tuple[int, ...],
    shape: tuple[int, ...],
    precision: str,
    options: TuneBenchmark,
    device: torch.device,
) -> dict[str, Cell]:
    """Time the ways of one layer, forward and backward, and name the fastest."""
    inputs, outputs, kernel_size = layer
    name = Convolution(
        shape[0], inputs, outputs, shape[2:], kernel_size, _NAMES.get(precision, precision)
    )
    module = GaborConv3d(inputs, outputs, kernel_size).to(device)
    x = torch.randn(shape, device=device, requires_grad=inputs > 1)
    step = partial(in_precision, precision, device, partial(_both_ways, module, x))
    steps = {way: partial(_on_the, way, name, step) for way in get_args(Way)}
    times: dict[str, Spread] = {}
    for way, cost in costs(steps, options.repeats, device).items():
        time = cost["time [ms]"]
        assert isinstance(time, Spread)
        times[way] = time
    fastest = min(times, key=lambda way: times[way].median)
    saves = times["direct"].median - times[fastest].median
    measured = {f"{way} [ms]": time for way, time in times.items()}
    return {"convolution": str(name), **measured, "way": fastest, "saves [ms]": saves}


def _both_ways(module: GaborConv3d, x: Tensor) -> None:
    """Run a layer forward and backward."""
    y = module(x)
    y.backward(torch.ones_like(y))
    x.grad = module.gabor.grad = None


def _on_the(way: Way, convolution: Convolution, step: Callable[[], None]) -> None:
    """Take a step with one way for a convolution."""
    with _pinned(Choices({str(convolution): way})):
        step()


@contextmanager
def _pinned(choices: Choices) -> Iterator[None]:
    """Keep to choices in a block."""
    pin(choices)
    try:
        yield
    finally:
        pin(None)


def _medians(row: Mapping[str, Cell]) -> dict[str, float]:
    """The times of a row."""
    return {name: value.median for name, value in row.items() if isinstance(value, Spread)}
