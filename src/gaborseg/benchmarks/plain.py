"""The same mathematics as one writes it at first: what the package is measured against.

Autograd over the formulas on the grid, `F.conv3d`, one-hot volumes, upsampling before the 1x1x1
convolution of the right leg. Values are equal to the package's, up to rounding; parameters have the
same names, except for the right leg, so that one can be loaded into the other.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gaborseg.layers import GaborConv3d, initial_gabor

Convolution = Callable[[int, int], nn.Module]

CHANNELS = (12, 24, 48, 96, 192)
_DEPTHS_DOWN = (1, 2, 3, 3, 3)
_DEPTHS_UP = (1, 2, 3, 3)


def gabor_kernel_on_grid(parameters: Tensor, kernel_size: int) -> Tensor:
    """Eq. (2) at each voxel of the kernel, (8, I, O) -> (O, I, K, K, K)."""
    sigma, theta_y, theta_z, amplitude_re, amplitude_im, frequency_re, frequency_im, phase = (
        parameters.mT[..., None, None, None]
    )
    half = kernel_size // 2
    offsets = torch.arange(-half, half + 1, dtype=parameters.dtype, device=parameters.device)
    x, y, z = torch.meshgrid(offsets, offsets, offsets, indexing="ij")
    cos_y, cos_z = theta_y.cos(), theta_z.cos()
    along = x * (cos_y * cos_z) - y * (cos_y * theta_z.sin()) + z * theta_y.sin()
    envelope = torch.exp((x**2 + y**2 + z**2) * (-1 / (2 * sigma**2)))
    return envelope * (
        amplitude_re * torch.cos((2 * math.pi * frequency_re) * along + phase)
        + amplitude_im * torch.sin((2 * math.pi * frequency_im) * along + phase)
    )


class PlainGaborConv3d(nn.Module):
    """'Same' convolution with Gabor kernels that autograd synthesises on the grid."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 7) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.gabor = nn.Parameter(initial_gabor(in_channels, out_channels, kernel_size))

    def forward(self, x: Tensor) -> Tensor:
        """Filter a volume: (B, I, D, H, W) -> (B, O, D, H, W)."""
        return F.conv3d(x, gabor_kernel_on_grid(self.gabor, self.kernel_size), padding="same")


class OnGridGaborConv3d(GaborConv3d):
    """The Gabor layer as it is, but for kernels that autograd synthesises on the grid."""

    def synthesise(self, parameters: Tensor) -> Tensor:
        """Kernels of eq. (2)."""
        return gabor_kernel_on_grid(parameters, self.kernel_size)


def plain_conv3d(in_channels: int, out_channels: int) -> nn.Conv3d:
    """An ordinary 3x3x3 convolution without bias."""
    return nn.Conv3d(in_channels, out_channels, kernel_size=3, padding=1, bias=False)


class _PlainBlock(nn.Module):
    """Convolution, group normalisation and ELU, `depth` times, plus a 1x1x1 residual branch."""

    def __init__(
        self, in_channels: int, out_channels: int, depth: int, convolution: Convolution
    ) -> None:
        super().__init__()

        def unit(layer: nn.Module) -> nn.Module:
            return nn.Sequential(layer, nn.GroupNorm(4, out_channels), nn.ELU())

        sizes = [in_channels] + [out_channels] * depth
        self.units = nn.Sequential(*(unit(convolution(*pair)) for pair in pairwise(sizes)))
        self.shortcut = unit(nn.Conv3d(in_channels, out_channels, kernel_size=1, bias=False))

    def forward(self, features: Tensor) -> Tensor:
        """Return the block's output features."""
        return self.units(features) + self.shortcut(features)


class PlainVNetDS(nn.Module):
    """The paper's network, (B, 1, *S) to (B, C, *S), for sizes that can be halved four times."""

    def __init__(self, num_classes: int, convolution: Convolution) -> None:
        super().__init__()
        down = zip((1, *CHANNELS[:-1]), CHANNELS, _DEPTHS_DOWN, strict=True)
        self.encoder = nn.ModuleList(_PlainBlock(*block, convolution) for block in down)
        up = zip(CHANNELS[:-1], CHANNELS[1:], _DEPTHS_UP, strict=True)
        self.decoder = nn.ModuleList(
            _PlainBlock(fine + coarse, fine, depth, convolution) for fine, coarse, depth in up
        )
        self.right_leg = nn.Conv3d(sum(CHANNELS), num_classes, kernel_size=1)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits."""
        size, skipped = features.shape[2:], []
        for level, block in enumerate(self.encoder):
            features = block(F.max_pool3d(features, 2) if level else features)
            skipped.append(features)
        outputs = [skipped.pop()]
        for block in reversed(self.decoder):
            encoded = skipped.pop()
            larger = interpolate(outputs[-1], encoded.shape[2:])
            outputs.append(block(torch.cat([encoded, larger], dim=1)))
        full = [interpolate(output, size) for output in reversed(outputs)]
        return self.right_leg(torch.cat(full, dim=1))


def interpolate(features: Tensor, size: Sequence[int]) -> Tensor:
    """Trilinear interpolation to another size; none where nothing would change."""
    if features.shape[2:] == torch.Size(size):
        return features
    return F.interpolate(features, size=list(size), mode="trilinear", align_corners=False)


def one_hot_pcc(logits: Tensor, target: Tensor) -> Tensor:
    """PCC loss, eq. (4), from volumes of scores and labels of the same shape."""
    probs = logits.softmax(dim=1)
    one_hot = F.one_hot(target, logits.shape[1]).movedim(-1, 1).to(probs.dtype)
    p, y = (volume.flatten(2) for volume in (probs, one_hot))
    p, y = (volume - volume.mean(dim=-1, keepdim=True) for volume in (p, y))
    r = (p * y).sum(-1) / (p.square().sum(-1) * y.square().sum(-1)).sqrt()
    return ((1 - r) / 2).mean()
