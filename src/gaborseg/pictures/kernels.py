"""What a network's Gabor kernels have become: their numbers at the start and when trained.

A kernel is called

- beyond Nyquist, if one of its waves turns by more than half a cycle from a voxel to the next along
  some axis: on the grid it looks like another, slower wave;
- narrow, if its envelope leaves less than 1 % to the centre's neighbours: a single voxel;
- wide, if sigma exceeds the kernel's side: no envelope within the kernel, a bare wave;
- faint, if its energy is below 1 % of the mean energy of its layer's kernels.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gaborseg.layers import PARAMETERS, gabor_kernel

NYQUIST = 0.5
"""Cycles per voxel along an axis."""
NARROW = 1 / math.sqrt(2 * math.log(100))
"""Voxels: a Gaussian of this sigma leaves 1 % at a distance of one voxel."""
_FAINT = 0.01
PAIRS_AT_ONCE = 2**12

Array = NDArray[np.float64]


class _Shares(NamedTuple):
    """Shares of kernels, in [0, 1], by the module's definitions."""

    beyond_nyquist: float
    narrow: float
    wide: float
    faint: float


@dataclass(frozen=True, eq=False)
class Kernels:
    """All kernels of a layer at one time.

    Attributes:
        parameters: (8, I, O), rows named by ``gaborseg.layers.gabor.PARAMETERS``.
        kernel_size: Side K in voxels.
    """

    parameters: Tensor
    kernel_size: int

    def parameter(self, name: str) -> Array:
        """One parameter of all kernels, (I O)."""
        return self.parameters[PARAMETERS.index(name)].double().flatten().numpy()

    @property
    def sigma(self) -> Array:
        """Width of the envelopes, in voxels, (I O); its sign changes nothing."""
        return np.abs(self.parameter("sigma"))

    @property
    def frequencies(self) -> Array:
        """Frequencies of both waves, in cycles per voxel, (2, I O); likewise."""
        return np.abs([self.parameter("frequency_re"), self.parameter("frequency_im")])

    @cached_property
    def directions(self) -> Array:
        """Unit vectors along the waves, (3, I O): the first row of the rotation."""
        theta_y, theta_z = self.parameter("theta_y"), self.parameter("theta_z")
        flat = np.cos(theta_y)
        return np.stack([flat * np.cos(theta_z), -flat * np.sin(theta_z), np.sin(theta_y)])

    @property
    def steepest(self) -> Array:
        """Frequencies of both waves along the axis of which they turn most, (2, I O)."""
        along_axes: Array = np.abs(self.frequencies[:, None] * self.directions)
        return along_axes.max(axis=1)

    @cached_property
    def energy(self) -> Array:
        """Sum of squares of each kernel, (I O)."""
        return _joined(kernels.square().sum(dim=1) for kernels in self.blocks())

    def blocks(self) -> Iterator[Tensor]:
        """Yield all kernels, some at a time, (N, K^3)."""
        for part in self.parameters.flatten(1).unsqueeze(1).split(PAIRS_AT_ONCE, dim=2):
            yield gabor_kernel(part, self.kernel_size).flatten(1)

    def voxels(self, index: int) -> Array:
        """The kernel of one pair of channels, (K, K, K)."""
        own = self.parameters.flatten(1)[:, index].view(-1, 1, 1)
        return gabor_kernel(own, self.kernel_size)[0, 0].double().numpy()

    def shares(self) -> _Shares:
        """How many of the kernels are beyond Nyquist, narrow, wide and faint."""
        return _Shares(
            beyond_nyquist=float((self.steepest > NYQUIST * (1 + 1e-6)).any(axis=0).mean()),
            narrow=float((self.sigma < NARROW).mean()),
            wide=float((self.sigma > self.kernel_size).mean()),
            faint=float((self.energy < _FAINT * self.energy.mean()).mean()),
        )


@dataclass(frozen=True, eq=False)
class GaborLayer:
    """A layer's kernels before and after the training.

    Attributes:
        name: For the reader.
        start: As they were initialised.
        trained: As they are at the best epoch.
    """

    name: str
    start: Kernels
    trained: Kernels

    @cached_property
    def change(self) -> Array:
        """How far the training has moved each kernel, relative to its norm at the start, (I O)."""
        pairs = zip(self.start.blocks(), self.trained.blocks(), strict=True)
        moved = _joined((after - before).norm(dim=1) for before, after in pairs)
        return moved / np.sqrt(self.start.energy)


def _joined(parts: Iterable[Tensor]) -> Array:
    return torch.cat(list(parts)).double().numpy()


def gabor_layers(start: nn.Module, trained: nn.Module) -> list[GaborLayer]:
    """The layers of two equal networks that convolve with kernels of eq. (2), in order.

    Args:
        start: The network with its initial weights.
        trained: The same network, trained.
    """
    pairs = zip(start.named_modules(), trained.modules(), strict=True)
    return [
        GaborLayer(layer_name(name), _kernels(before), _kernels(after))
        for (name, before), after in pairs
        if tuple(getattr(before, "names", ())) == PARAMETERS
    ]


def _kernels(layer: Any) -> Kernels:
    """The kernels of a layer that tells its parameters by name."""
    parameters = [value.detach().cpu() for value in layer.gabor_parameters().values()]
    return Kernels(torch.stack(parameters), layer.kernel_size)


def layer_name(path: str) -> str:
    """A layer's place in V-Net-DS for the reader; any other path as it is.

    >>> layer_name("encoder.2.units.0.0"), layer_name("features.conv")
    ('down, level 2, convolution 1', 'features.conv')
    """
    found = re.fullmatch(r"(encoder|decoder)\.(\d+)\.units\.(\d+)\.0", path)
    if not found:
        return path
    way = "down" if found[1] == "encoder" else "up"
    return f"{way}, level {found[2]}, convolution {int(found[3]) + 1}"


def gallery_rows(layers: Sequence[GaborLayer]) -> list[dict[str, Any]]:
    """Numbers of each layer at the start and trained, a row each, ready for a csv file.

    Quartiles of sigma in voxels, of both waves' frequencies in cycles per voxel, and of the change
    relative to the start; shares by the module's definitions.
    """
    return [
        {"layer": layer.name, "time": time, "kernels": len(change)}
        | _quartiles("sigma", kernels.sigma)
        | _quartiles("frequency", kernels.frequencies)
        | _quartiles("change", change)
        | kernels.shares()._asdict()
        for layer in layers
        for time, kernels, change in (
            ("start", layer.start, np.zeros_like(layer.change)),
            ("trained", layer.trained, layer.change),
        )
    ]


def _quartiles(name: str, values: Array) -> dict[str, Any]:
    low, middle, high = np.percentile(values, (25, 50, 75)).tolist()
    return {f"{name}_q25": low, f"{name}_median": middle, f"{name}_q75": high}
