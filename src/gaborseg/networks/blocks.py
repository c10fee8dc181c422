"""The pieces of V-Net-DS: a unit (convolution, normalisation, activation) and a residual block.

References:
    Wong & Moradi, "3D Segmentation with Fully Trainable Gabor Kernels and Pearson's Correlation
    Coefficient", MLMI 2022, section 2.3 and Fig. 2.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import cast

from torch import Tensor, nn

from gaborseg.gpu import Normalised, fuses, sum_of_normalised

Convolution = Callable[[int, int], nn.Module]
Activation = Callable[[], nn.Module]


class _Unit(nn.Sequential):
    """Convolution, group normalisation, activation: (B, I, D, H, W) to (B, O, D, H, W).

    Args:
        in_channels: Number of input channels I.
        out_channels: Number of output channels O, a multiple of ``groups``.
        convolution: Called as ``convolution(in_channels, out_channels)``.
        activation: Called without arguments.
        groups: Number of channel groups that are normalised together (4 in the paper).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        convolution: Convolution,
        activation: Activation,
        groups: int,
    ) -> None:
        super().__init__(
            convolution(in_channels, out_channels),
            nn.GroupNorm(groups, out_channels),
            activation(),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return the activated features."""
        if not fuses(features):
            return super().forward(features)
        return sum_of_normalised(self.convolved(features))

    def convolved(self, features: Tensor) -> Normalised:
        """Return the convolution's result, still to be normalised and activated."""
        convolution, norm, activation = self
        return Normalised(convolution(features), norm, activation)


def pointwise(in_channels: int, out_channels: int) -> nn.Conv3d:
    """Return a 1x1x1 convolution without bias, Kaiming-initialised."""
    convolution = nn.Conv3d(in_channels, out_channels, kernel_size=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    return convolution


class ResidualBlock(nn.Module):
    """Units in sequence plus a 1x1x1 residual branch: (B, I, D, H, W) to (B, O, D, H, W).

    Args:
        in_channels: Number of input channels I.
        out_channels: Number of output channels O, a multiple of ``groups``.
        depth: Number of spatial convolutions.
        convolution: Called as ``convolution(in_channels, out_channels)``.
        activation: Called without arguments.
        groups: Number of channel groups that are normalised together.
        dropout: Probability of dropping a whole channel of the units' result, in [0, 1).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        depth: int,
        convolution: Convolution,
        activation: Activation,
        groups: int,
        dropout: float,
    ) -> None:
        super().__init__()
        sizes = [in_channels] + [out_channels] * depth
        units = [
            _Unit(before, after, convolution, activation, groups)
            for before, after in pairwise(sizes)
        ]
        self.units = nn.Sequential(*units)
        self.dropout = nn.Dropout3d(dropout)
        self.shortcut = _Unit(in_channels, out_channels, pointwise, activation, groups)

    def forward(self, features: Tensor) -> Tensor:
        """Return the block's output features."""
        drops = self.dropout.training and self.dropout.p > 0
        if drops or not fuses(features):
            return self.dropout(self.units(features)) + self.shortcut(features)
        *units, last = cast("list[_Unit]", list(self.units))
        inner = features
        for unit in units:
            inner = unit(inner)
        return sum_of_normalised(last.convolved(inner), self.shortcut.convolved(features))
