"""Weights of a trained network that another one takes over: whatever has a place in it.

Tensors are matched by their names. Where they have an axis of classes, rows are matched by the
names of the structures; along an axis of image channels, by those of the channels. Which axes these
are is found out by building the network once more with other numbers of both.
"""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gaborseg.layers import ParametricConv3d
from gaborseg.models.loading import TrainedModel

_CHANNELS, _CLASSES = "in_channels", "num_classes"
_FREE = ("training", "kernel_size", "stride")
"""What two layers with the same parameters may differ in."""

_Axes = tuple[str | None, ...]
"""For each axis of a tensor the number that it follows, if it follows one."""
_Places = Mapping[str, tuple[Sequence[int], Sequence[int]]]
"""Along the axes of a number: positions here, and those in the source that belong to them."""


@dataclass(frozen=True)
class Transfer:
    """How many values each tensor of a network has taken over.

    Attributes:
        loaded: Values that come from the source, by the name of the tensor here.
        new: Values that are as they were before, likewise.
        left_out: Values of the source that have no place here, by its names.
    """

    loaded: Mapping[str, int]
    new: Mapping[str, int]
    left_out: Mapping[str, int]

    def by_part(self) -> dict[str, tuple[int, int, int]]:
        """Return loaded, new and left out values of each part, as ``encoder`` of ``encoder.0.``."""
        counts = [_sums_by_part(values) for values in (self.loaded, self.new, self.left_out)]
        parts = dict.fromkeys(part for count in counts for part in count)
        return {part: (counts[0][part], counts[1][part], counts[2][part]) for part in parts}


def take_over(
    network: nn.Module,
    source: TrainedModel,
    *,
    structures: Sequence[str],
    channels: Sequence[str],
    rebuild: Callable[..., nn.Module],
) -> Transfer:
    """Give a network all weights of a trained one that have a place in it, and tell which.

    - A structure, or the background, that both know takes its rows of the head; other rows stay.
    - An image channel takes the kernels of the source's channel of the same name; one without a
      namesake those of a channel without one, in order, or else those of the first. So no channel
      starts anew.
    - Parameters of computed kernels do not depend on the kernel's size: they are taken over between
      layers of one class, whatever their sizes, rates and scales of widths. Freely trained kernels
      of another size stay.

    Args:
        network: On the CPU.
        source: The trained network.
        structures: Names of the labels 1 ... C-1 here.
        channels: Names of the image channels here.
        rebuild: Builds the network, called with ``in_channels`` and ``num_classes``.

    Raises:
        ValueError: Nothing of the source has a place in the network.
    """
    places = {
        _CHANNELS: _channel_places(channels, source.channels),
        _CLASSES: _class_places(structures, source.structures),
    }
    counts = {_CHANNELS: len(source.channels), _CLASSES: len(source.structures) + 1}
    axes = _axes(network, rebuild, len(channels), len(structures) + 1)
    theirs = _tensors(source.network, network)
    loaded, used = {}, {}
    for name, own in network.state_dict().items():
        found = theirs.get(name)
        if found is not None and _fits(own, found, axes[name], counts):
            loaded[name], used[name] = _fill(own, found, axes[name], places)
    if not any(loaded.values()):
        raise ValueError(f"nothing of {source.checkpoint} has a place in this network")
    return Transfer(
        loaded=loaded,
        new=_rest(network.state_dict(), loaded),
        left_out=_rest(source.network.state_dict(), used),
    )


def _sums_by_part(values: Mapping[str, int]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for name, value in values.items():
        counts[name.partition(".")[0]] += value
    return counts


def _rest(state: Mapping[str, Tensor], used: Mapping[str, int]) -> dict[str, int]:
    rest = {name: value.numel() - used.get(name, 0) for name, value in state.items()}
    return {name: count for name, count in rest.items() if count}


def _class_places(here: Sequence[str], there: Sequence[str]) -> tuple[list[int], list[int]]:
    """Labels of here that the source knows too, and its labels for them; the background is 0."""
    both = [name for name in here if name in there]
    own = [here.index(name) + 1 for name in both]
    return [0, *own], [0, *(there.index(name) + 1 for name in both)]


def _channel_places(here: Sequence[str], there: Sequence[str]) -> tuple[list[int], list[int]]:
    """All channels of here, and the source's channel for each."""
    others = itertools.cycle([name for name in there if name not in here] or there[:1])
    partners = [name if name in there else next(others) for name in here]
    return [*range(len(here))], [there.index(name) for name in partners]


def _axes(
    network: nn.Module, rebuild: Callable[..., nn.Module], channels: int, classes: int
) -> dict[str, _Axes]:
    """For each tensor of a network, which of its axes follow the channels or the classes."""
    own = _shapes(network)
    halved = channels // 2 if channels % 2 == 0 else 2 * channels  # V-Net takes divisors of 16
    with torch.random.fork_rng(devices=[]):
        others = {
            _CHANNELS: _shapes(rebuild(in_channels=halved, num_classes=classes)),
            _CLASSES: _shapes(rebuild(in_channels=channels, num_classes=classes + 1)),
        }
    return {
        name: tuple(_followed(others, name, axis, size) for axis, size in enumerate(shape))
        for name, shape in own.items()
    }


def _shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


def _followed(
    others: Mapping[str, Mapping[str, tuple[int, ...]]], name: str, axis: int, size: int
) -> str | None:
    changed = [number for number, shapes in others.items() if shapes[name][axis] != size]
    return changed[0] if changed else None


def _tensors(source: nn.Module, network: nn.Module) -> dict[str, Tensor]:
    """The tensors of a trained network, computed kernels as another network would store them."""
    tensors = source.state_dict()
    layers = dict(network.named_modules())
    for name, theirs in source.named_modules():
        own = layers.get(name)
        if isinstance(theirs, ParametricConv3d):
            stored = tensors.pop(f"{name}.gabor")
            if isinstance(own, ParametricConv3d) and _means(own) == _means(theirs):
                tensors[f"{name}.gabor"] = own.storage.taken_over(stored, theirs.storage)
    return tensors


def _means(layer: ParametricConv3d) -> dict[str, Any]:
    """What decides the kernels that parameters stand for: class, and plain settings."""
    plain = {
        key: value
        for key, value in vars(layer).items()
        if isinstance(value, str | int | float) and key not in _FREE
    }
    return plain | {"class": type(layer)}


def _fits(own: Tensor, theirs: Tensor, axes: _Axes, counts: Mapping[str, int]) -> bool:
    """Return whether two tensors agree but along axes of channels and classes."""
    if own.ndim != theirs.ndim or own.dtype != theirs.dtype:
        return False
    sizes = zip(axes, own.shape, theirs.shape, strict=True)
    return all(found == (counts[axis] if axis else size) for axis, size, found in sizes)


@torch.no_grad()
def _fill(own: Tensor, theirs: Tensor, axes: _Axes, places: _Places) -> tuple[int, int]:
    """Copy what belongs together; return how many values here were set, and there were used."""
    if not any(axes):
        own.copy_(theirs)
        return own.numel(), own.numel()
    whole = [(range(size), range(size)) for size in own.shape]
    pairs = [places[axis] if axis else pair for axis, pair in zip(axes, whole, strict=True)]
    here, there = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    own.numpy()[np.ix_(*here)] = theirs.numpy()[np.ix_(*there)]
    return math.prod(map(len, here)), math.prod(map(len, map(set, there)))
