"""HNOSeg-XS: a network of some thirty thousand parameters that works on frequencies.

The discrete Hartley transform (DHT) of a volume is real, as the volume is. Over N voxels,

    X(k) = 1/N sum_n x(n) cas(2 pi k.n / N),    x(n) = sum_k X(k) cas(2 pi k.n / N),

with cas t = cos t + sin t, k.n / N the sum over the axes, and k within `modes` cycles per volume:
what is finer is left out. A block transforms its features, mixes the channels of the coefficients
a few times, with the same weights at every frequency and an activation after each, and transforms
back. So the number of parameters depends neither on the number of frequencies nor on the size of
the volume, and every voxel sees all of the volume in every block.

What the paper's abstract and the documentation of the authors' code say: channels, blocks, weights
shared by all frequencies, learned halving and doubling of the volume at its ends, features and
transform concatenated within a block, skip connections from the first half of the blocks to the
second, SELU, no normalisation. What they leave open was filled in. Two choices are those that give
the published configuration its published 28,248 parameters: blocks are joined to their mirror
images, as in a U-Net, three pairs of eight blocks; biases are in the halving and at the end of each
block, not in the output. Three are ours alone: the order of operations in a block; all frequencies
up to the highest, of both signs; the transform divided by N, so that coefficients are amplitudes,
the same at any resolution. So it is a network of that kind and size, perhaps not the same one.

References:
    Wong, Wang and Syeda-Mahmood, HNOSeg-XS: Extremely Small Hartley Neural Operator for Efficient
    and Resolution-Robust 3D Image Segmentation, IEEE TMI 2025, arXiv:2507.08205.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn

from gaborseg.networks.constants import outside_modes
from gaborseg.networks.padding import padded_inside

_HALVING = 2


class HNOSegXS(nn.Module):
    """Logits of every voxel, (B, I, D, H, W) to (B, C, D, H, W), for any volume size.

    Args:
        in_channels: Number of image channels I.
        num_classes: Number of classes C, background included.
        filters: Feature channels F of every block.
        blocks: For each block, how many times it mixes the channels of the coefficients.
        modes: Highest frequency that is kept along D, H and W, in cycles per volume; a volume that
            resolves fewer has all it resolves.
        deep_supervision: Compute the logits of the features of all blocks, not of the last alone.

    Raises:
        ValueError: A number is out of its range, or ``modes`` are not three.

    Example:
        >>> network = HNOSegXS(1, 3, filters=4, blocks=(2, 2), modes=(3, 3, 3))
        >>> network(torch.zeros(1, 1, 12, 10, 11)).shape
        torch.Size([1, 3, 12, 10, 11])
        >>> sum(p.numel() for p in HNOSegXS(4, 4).parameters())  # as published
        28248
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        filters: int = 24,
        blocks: Sequence[int] = (3,) * 8,
        modes: Sequence[int] = (14, 14, 14),
        deep_supervision: bool = False,
    ) -> None:
        super().__init__()
        _check(in_channels, num_classes, filters, blocks, modes)
        self.deep_supervision = deep_supervision
        self.skips = [_skip_of(index, len(blocks)) for index in range(len(blocks))]
        self.halve = nn.Conv3d(in_channels, filters, _HALVING, stride=_HALVING)
        self.blocks = nn.ModuleList(
            _Block(filters * (1 if skip is None else 2), filters, depth, tuple(modes))
            for depth, skip in zip(blocks, self.skips, strict=True)
        )
        joined = filters * (len(blocks) if deep_supervision else 1)
        self.score = nn.ConvTranspose3d(joined, num_classes, _HALVING, stride=_HALVING, bias=False)
        self.activation = nn.SELU()
        _draw_self_normalising(self)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (B, C, D, H, W); the image is padded inside to even sides."""
        return padded_inside(self._segment, image, [_HALVING] * 3)

    def _segment(self, image: Tensor) -> Tensor:
        features = self.activation(self.halve(image))
        outputs: list[Tensor] = []
        for block, skip in zip(self.blocks, self.skips, strict=True):
            features = block(_joined(features, *([] if skip is None else [outputs[skip]])))
            outputs.append(features)
        logits: Tensor = self.score(_joined(*outputs) if self.deep_supervision else features)
        return logits


class _Block(nn.Module):
    """Features (B, I, *S) to (B, O, *S): frequencies and features, joined by a 1x1x1 convolution.

    Args:
        in_channels: Number of input channels I.
        out_channels: Number of output channels O.
        depth: How many times the coefficients' channels are mixed.
        modes: Highest frequency along each axis, in cycles per volume.
    """

    def __init__(
        self, in_channels: int, out_channels: int, depth: int, modes: tuple[int, ...]
    ) -> None:
        super().__init__()
        sizes = [in_channels] + [out_channels] * (depth - 1)
        self.modes = modes
        self.mixing = nn.Sequential(
            *(
                layer
                for size in sizes
                for layer in (nn.Conv3d(size, out_channels, 1, bias=False), nn.SELU())
            )
        )
        self.joining = nn.Conv3d(in_channels + out_channels, out_channels, 1)
        self.activation = nn.SELU()

    def forward(self, features: Tensor) -> Tensor:
        """Return the block's output features."""
        mixed = self.mixing(hartley(features, self.modes))
        volume = inverse_hartley(mixed, features.shape[2:])
        result: Tensor = self.activation(self.joining(_joined(features, volume)))
        return result


def hartley(volume: Tensor, modes: Sequence[int]) -> Tensor:
    """The lowest Hartley coefficients of volumes, (B, C, *S) to (B, C, *M), as amplitudes.

    Along each axis they are those of -m ... m cycles per volume, in this order, M = 2 m + 1, where
    m is the smaller of the axis' mode and the highest frequency of which the axis has both signs.

    Args:
        volume: Three spatial axes.
        modes: Highest frequency along each axis, in cycles per volume.

    Example:
        >>> hartley(torch.full((1, 1, 4, 4, 4), 7.0), (1, 0, 0)).flatten().round(decimals=4) + 0
        tensor([0., 7., 0.])
    """
    size, coefficients = volume.shape[2:], volume
    for axis, (length, mode) in enumerate(zip(size, modes, strict=True), start=2):
        matrix = _cas(length, min(mode, (length - 1) // 2)).T
        coefficients = _along(matrix.to(volume), coefficients, axis)
    return _as_one_wave(coefficients) / math.prod(size)


def inverse_hartley(coefficients: Tensor, size: Sequence[int]) -> Tensor:
    """Volumes of Hartley coefficients, (B, C, *M) to (B, C, *size): all finer waves are 0.

    Args:
        coefficients: In the order of `hartley`.
        size: Voxels along each axis.
    """
    volume = _as_one_wave(coefficients)
    for axis, length in enumerate(size, start=2):
        matrix = _cas(length, coefficients.shape[axis] // 2)
        volume = _along(matrix.to(volume), volume, axis)
    return volume


def _as_one_wave(product: Tensor) -> Tensor:
    """Turn sums over cas a cas b cas c, of which an index is negated by a flip, into cas(a+b+c)."""
    flipped = product.flip(2) + product.flip(3) + product.flip(4)
    return (flipped - product.flip((2, 3, 4))) / 2


def _along(matrix: Tensor, volume: Tensor, axis: int) -> Tensor:
    """Multiply an axis, 2 to 4, of a volume (B, C, D, H, W) by a matrix (new, old)."""
    match axis:
        case 2:
            return (matrix @ volume.flatten(3)).unflatten(3, volume.shape[3:])
        case 3:
            return matrix @ volume
        case _:
            return volume @ matrix.T


@lru_cache(maxsize=64)
def _cas(length: int, mode: int) -> Tensor:
    """The waves of -mode ... mode cycles at the voxels of an axis, (length, 2 mode + 1)."""
    with torch.inference_mode(False), torch.no_grad(), outside_modes():
        voxels = torch.arange(length, dtype=torch.float64, device="cpu")
        cycles = torch.arange(-mode, mode + 1, dtype=torch.float64, device="cpu")
        angle = 2 * math.pi * voxels[:, None] * cycles / length
        return angle.cos() + angle.sin()


def _joined(*features: Tensor) -> Tensor:
    """All channels of features of one size."""
    return torch.cat(features, dim=1) if len(features) > 1 else features[0]


def _skip_of(index: int, count: int) -> int | None:
    """The block whose features a block takes besides those of the one before it.

    >>> [_skip_of(index, 8) for index in range(8)]
    [None, None, None, None, None, 2, 1, 0]
    """
    mirrored = count - 1 - index
    return mirrored if mirrored < index - 1 else None


def _draw_self_normalising(network: nn.Module) -> None:
    """Draw weights of variance 1 / fan-in, as SELU asks for; biases are 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            meeting = math.prod(module.kernel_size) if isinstance(module, nn.Conv3d) else 1
            nn.init.normal_(module.weight, std=(module.in_channels * meeting) ** -0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _check(
    in_channels: int,
    num_classes: int,
    filters: int,
    blocks: Sequence[int],
    modes: Sequence[int],
) -> None:
    for name, value, least in (
        ("in_channels", in_channels, 1),
        ("num_classes", num_classes, 2),
        ("filters", filters, 1),
    ):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    if not blocks or min(blocks) < 1:
        raise ValueError(f"blocks must be positive numbers, got {list(blocks)}")
    if len(modes) != 3 or min(modes) < 0:
        raise ValueError(f"modes must be three numbers, 0 or more, got {list(modes)}")
