"""Training steps and single layers on the device `meta`, to be traced."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple, get_args

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from gaborseg.benchmarks.gpu import NETWORKS, configuration, training_step
from gaborseg.benchmarks.modelled.trace import PRECISIONS, Trace, traced
from gaborseg.benchmarks.report import Cell
from gaborseg.gpu import Way
from gaborseg.interface import build
from gaborseg.layers import ConventionalConv3d, GaborConv3d

_NUM_CLASSES = 20
_META = torch.device("meta")


class Variant(NamedTuple):
    """A network, the way of its Gabor convolutions, and a precision."""

    kernel: str
    way: Way
    precision: str

    @property
    def columns(self) -> dict[str, Cell]:
        """What tells it from others in a table."""
        way = None if self.kernel == "conventional" else self.way
        return {"network": self.kernel, "Gabor layers": way, "precision": self.precision}

    @property
    def counts_apart(self) -> bool:
        """Whether its memory is its own: TF32 takes that of float32."""
        return self.precision != "tf32"


VARIANTS = [
    Variant(kernel, way, precision)
    for kernel in NETWORKS
    for way in get_args(Way)[: 1 if kernel == "conventional" else None]
    for precision in PRECISIONS
]


class Layer(NamedTuple):
    """A spatial convolution of the network.

    Attributes:
        level: 0 (full size) ... 4 (bottom).
        inputs: Input channels I.
        outputs: Output channels O.
        side: Voxels of the volume along each axis.
    """

    level: int
    inputs: int
    outputs: int
    side: int


@functools.cache
def step_of(variant: Variant, size: int) -> Trace:
    """Trace a training step, the second one: the first one makes the optimizer's state."""
    config, network = network_of(variant.kernel)
    step = training_step(config, network, size, _META)
    traced(step, variant.precision, variant.way)
    return traced(step, variant.precision, variant.way)


@functools.cache
def network_of(kernel: str) -> tuple[DictConfig, nn.Module]:
    """The configuration of `kernel=...` and its network, without memory."""
    config = configuration(kernel)
    with _META:
        network = build(config.network, in_channels=1, num_classes=_NUM_CLASSES)
    return config, network


def gabor_layers(size: int) -> Counter[Layer]:
    """How often the Gabor-only network has each shape of layer, finest level first."""
    layers: Counter[Layer] = Counter()

    def note(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        side = output.shape[-1]
        channels = inputs[0].shape[1], output.shape[1]
        layers[Layer((size // side).bit_length() - 1, *channels, side)] += 1

    _, network = network_of("gabor")
    hooks = [
        layer.register_forward_hook(note)
        for layer in network.modules()
        if isinstance(layer, GaborConv3d)
    ]
    network(torch.empty(1, 1, size, size, size, device=_META))
    for hook in hooks:
        hook.remove()
    return Counter({layer: layers[layer] for layer in sorted(layers)})


@functools.cache
def layer_step(layer: Layer, kernel_size: int, precision: str, way: Way) -> Trace:
    """Trace a layer both ways; the gradient by an image, its one input channel, is not wanted.

    Args:
        layer: Its channels and volume.
        kernel_size: 7 for Gabor kernels, 3 for conventional ones.
        precision: As `traced` takes it.
        way: The way of a Gabor convolution.
    """
    build_layer: Callable[..., nn.Module] = (
        ConventionalConv3d if kernel_size == 3 else functools.partial(GaborConv3d, initial="white")
    )
    with _META:
        module = build_layer(layer.inputs, layer.outputs, kernel_size=kernel_size)
    x = torch.empty(1, layer.inputs, *[layer.side] * 3, device=_META)
    x.requires_grad_(layer.inputs > 1)
    return traced(lambda: module(x).sum().backward(), precision, way)
