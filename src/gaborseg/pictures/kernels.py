"""What the kernels of a network have become: their numbers at the start and when trained.

Every layer that computes its kernels from parameters has a change, a share of faint kernels and its
parameters by name. Of a kernel of eq. (2) more can be said; one is called

- beyond Nyquist, if one of its waves turns by more than half a cycle from a voxel to the next along
  some axis: on the grid it looks like another, slower wave;
- narrow, if its envelope leaves less than 1 % to the centre's neighbours: a single voxel;
- wide, if sigma exceeds the kernel's side: no envelope within the kernel, a bare wave.

Any kernel is faint, if its energy is below 1 % of the mean energy of its layer's kernels.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gaborseg.layers import GaborConv3d, ParametricConv3d

NYQUIST = 0.5
"""Cycles per voxel along an axis."""
NARROW = 1 / math.sqrt(2 * math.log(100))
"""Voxels: a Gaussian of this sigma leaves 1 % at a distance of one voxel."""
_FAINT = 0.01
_PAIRS_AT_ONCE = 2**12

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Kernels:
    """All kernels of a layer at one time.

    Attributes:
        parameters: (P, I, O), in the units of the kernel's equation.
        names: Of the parameters.
        synthesise: Turns parameters (P, I, O) into kernels (O, I, K, K, K).
    """

    parameters: Tensor
    names: Sequence[str]
    synthesise: Callable[[Tensor], Tensor]

    def parameter(self, name: str) -> Array:
        """One parameter of all kernels, (I O)."""
        return self.parameters[self.names.index(name)].double().flatten().numpy()

    @cached_property
    def energy(self) -> Array:
        """Sum of squares of each kernel, (I O)."""
        return _joined(kernels.square().sum(dim=1) for kernels in self.blocks())

    def blocks(self) -> Iterator[Tensor]:
        """Yield all kernels, some at a time, (N, K^3)."""
        for part in self.parameters.flatten(1).unsqueeze(1).split(_PAIRS_AT_ONCE, dim=2):
            yield self.synthesise(part).flatten(1)

    def voxels(self, index: int) -> Array:
        """The kernel of one pair of channels, (K, K, K)."""
        own = self.parameters.flatten(1)[:, index].view(-1, 1, 1)
        return self.synthesise(own)[0, 0].double().numpy()

    def quartiles(self) -> dict[str, float]:
        """Quartiles of each parameter."""
        found: dict[str, float] = {}
        for name in self.names:
            found |= _quartiles(name, self.parameter(name))
        return found

    def shares(self) -> dict[str, float]:
        """Shares of kernels, in [0, 1], by the module's definitions."""
        return {"faint": float((self.energy < _FAINT * self.energy.mean()).mean())}


class GaborKernels(Kernels):
    """All kernels of a layer of eq. (2) at one time."""

    @property
    def kernel_size(self) -> int:
        """Side K in voxels."""
        return len(self.voxels(0))

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

    def quartiles(self) -> dict[str, float]:
        """Quartiles of widths, in voxels, and of both waves' frequencies, in cycles per voxel."""
        return _quartiles("sigma", self.sigma) | _quartiles("frequency", self.frequencies)

    def shares(self) -> dict[str, float]:
        """Shares of kernels, in [0, 1], by the module's definitions."""
        return {
            "beyond_nyquist": float((self.steepest > NYQUIST * (1 + 1e-6)).any(axis=0).mean()),
            "narrow": float((self.sigma < NARROW).mean()),
            "wide": float((self.sigma > self.kernel_size).mean()),
        } | super().shares()


@dataclass(frozen=True, eq=False)
class KernelLayer:
    """A layer's kernels before and after the training.

    Attributes:
        name: For the reader.
        family: What its kernels are, for the reader: the name of the layer's class.
        start: As they were initialised.
        trained: As they are at the best epoch.
    """

    name: str
    family: str
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


def kernel_layers(start: nn.Module, trained: nn.Module) -> list[KernelLayer]:
    """The layers of two equal networks that compute their kernels from parameters, in order.

    Args:
        start: The network with its initial weights.
        trained: The same network, trained.
    """
    pairs = zip(start.named_modules(), trained.modules(), strict=True)
    return [
        KernelLayer(layer_name(name), type(before).__name__, kernels_of(before), kernels_of(after))
        for (name, before), after in pairs
        if isinstance(before, ParametricConv3d) and isinstance(after, ParametricConv3d)
    ]


def kernels_of(layer: ParametricConv3d) -> Kernels:
    """The kernels of a layer as it is now."""
    kind = GaborKernels if isinstance(layer, GaborConv3d) else Kernels
    parameters = torch.stack([*layer.parameters_by_name().values()]).detach().cpu()
    return kind(parameters, tuple(layer.names), torch.no_grad()(layer.synthesise))


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


def gallery_rows(layers: Sequence[KernelLayer]) -> list[dict[str, Any]]:
    """Numbers of the layers of one family at the start and trained, a row each, ready for csv.

    Quartiles of the parameters in their units and of the change relative to the start, and shares
    by the module's definitions.
    """
    return [
        {"layer": layer.name, "time": time, "kernels": len(change)}
        | kernels.quartiles()
        | _quartiles("change", change)
        | kernels.shares()
        for layer in layers
        for time, kernels, change in (
            ("start", layer.start, np.zeros_like(layer.change)),
            ("trained", layer.trained, layer.change),
        )
    ]


def _quartiles(name: str, values: Array) -> dict[str, float]:
    low, middle, high = np.percentile(values, (25, 50, 75)).tolist()
    return {f"{name}_q25": low, f"{name}_median": middle, f"{name}_q75": high}
