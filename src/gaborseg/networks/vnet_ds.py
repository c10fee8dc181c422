"""V-Net with deep supervision: five levels, told level by level how to convolve."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gaborseg.gpu import max_pool
from gaborseg.networks.blocks import Activation, Convolution, ResidualBlock
from gaborseg.networks.padding import padded_inside
from gaborseg.networks.scaling import scale_kernels
from gaborseg.networks.upsample import INTERPOLATIONS, sum_of_upsampled, upsample

_INITIAL_SCORE_STD = 0.01


class VNetDS(nn.Module):
    """Logits of every voxel, (B, I, D, H, W) to (B, C, D, H, W), for any volume size.

    An encoder of residual blocks with 2x2x2 max pooling between them, a decoder that upsamples and
    concatenates the encoder's features, and a right leg that adds up the class scores of the
    bottom block and of every decoder block. The paper concatenates the upsampled features before
    one 1x1x1 convolution; upsampling is linear and treats channels alone, so a 1x1x1 convolution
    per level before upsampling gives the same result with a fraction of the memory.

    Args:
        in_channels: Number of image channels I.
        num_classes: Number of classes C, background included.
        convolutions: One factory a level, finest first, called as ``f(in_channels, out_channels)``.
        channels: Feature channels of each level.
        depths_down: Spatial convolutions in the block of each level on the way down.
        depths_up: Spatial convolutions in the blocks on the way up, finest level first.
        groups: Channel groups of the normalisation.
        activation: Called without arguments; gives an activation module.
        dropout: Probability of spatial dropout in every block, in [0, 1).
        interpolation: How features are upsampled, ``"trilinear"`` or ``"nearest"``.
        checkpointing: Number of levels, finest first, whose features the backward pass computes
            again instead of keeping them (gradient checkpointing); changes memory and time alone.
        scale: How many times as finely as those that the kernels are meant for the volumes are
            sampled; Gabor kernels become that much wider (``scale_kernels``).

    Raises:
        ValueError: If the levels disagree in number, channels are not divisible by the groups,
            a count is not positive, dropout is outside [0, 1), the interpolation is unknown,
            more levels are to be computed again than there are, or kernels cannot be scaled.

    References:
        Wong & Moradi, MLMI 2022, Fig. 2.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        convolutions: Sequence[Convolution],
        *,
        channels: Sequence[int] = (12, 24, 48, 96, 192),
        depths_down: Sequence[int] = (1, 2, 3, 3, 3),
        depths_up: Sequence[int] = (1, 2, 3, 3),
        groups: int = 4,
        activation: Activation = nn.ELU,
        dropout: float = 0.0,
        interpolation: str = "trilinear",
        checkpointing: int = 0,
        scale: int = 1,
    ) -> None:
        super().__init__()
        _check(in_channels, num_classes, channels, groups, dropout, interpolation)
        _check_levels(len(channels), convolutions, depths_down, depths_up)
        _check_checkpointing(checkpointing, len(channels))
        self.interpolation = interpolation
        self.checkpointing = checkpointing
        self.drops = dropout > 0
        self.stride = 2 ** (len(channels) - 1)

        def block(before: int, level: int, depth: int) -> ResidualBlock:
            return ResidualBlock(
                before,
                channels[level],
                depth=depth,
                convolution=convolutions[level],
                activation=activation,
                groups=groups,
                dropout=dropout,
            )

        entering = [in_channels, *channels[:-1]]
        joining = [above + below for above, below in pairwise(channels)]
        self.encoder = nn.ModuleList(
            block(before, level, depth)
            for level, (before, depth) in enumerate(zip(entering, depths_down, strict=True))
        )
        self.decoder = nn.ModuleList(
            block(before, level, depth)
            for level, (before, depth) in enumerate(zip(joining, depths_up, strict=True))
        )
        self.right_leg = RightLeg(channels, num_classes, interpolation)
        scale_kernels(self, scale)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (B, C, D, H, W); the image is padded inside to a multiple of the stride."""
        return padded_inside(self._segment, image, [self.stride] * 3)

    def _segment(self, image: Tensor) -> Tensor:
        skipped, features = [], image
        for level, block in enumerate(self.encoder):
            features = self._run(level, _encoded, block, features, level > 0)
            skipped.append(features)
        outputs = [skipped.pop()]
        for level, block in reversed([*enumerate(self.decoder)]):
            below = outputs[-1]
            outputs.append(
                self._run(level, _decoded, block, skipped.pop(), below, self.interpolation)
            )
        return self.right_leg(outputs[::-1])

    def _run(self, level: int, step: Callable[..., Tensor], *inputs: Any) -> Tensor:
        """Return the features of a step, which are kept for the backward pass or computed again."""
        if level >= self.checkpointing or not torch.is_grad_enabled():
            return step(*inputs)
        features: Tensor = checkpoint(
            step, *inputs, use_reentrant=False, preserve_rng_state=self.drops
        )
        return features


def _encoded(block: nn.Module, features: Tensor, pooled: bool) -> Tensor:
    """Return a block's features of an image, or of the level above."""
    result: Tensor = block(max_pool(features) if pooled else features)
    return result


def _decoded(block: nn.Module, encoded: Tensor, below: Tensor, interpolation: str) -> Tensor:
    """Return a block's features of the encoder's and of those of the level below."""
    larger = upsample(below, encoded.shape[2:], interpolation)
    result: Tensor = block(torch.cat([encoded, larger], dim=1))
    return result


class RightLeg(nn.Module):
    """Class scores summed over the levels: features, finest first, to logits (B, C, D, H, W).

    The weights start near zero: all classes are about equally likely and no class starts out dead.
    Not at zero, where the scores are constant and Pearson's correlation has no gradient.

    Args:
        channels: Feature channels of each level, finest first.
        num_classes: Number of classes C.
        interpolation: ``"trilinear"`` or ``"nearest"``.
    """

    def __init__(self, channels: Sequence[int], num_classes: int, interpolation: str) -> None:
        super().__init__()
        self.interpolation = interpolation
        self.scores = nn.ModuleList(
            nn.Conv3d(width, num_classes, kernel_size=1, bias=level == 0)
            for level, width in enumerate(channels)
        )
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=_INITIAL_SCORE_STD)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return the sum over levels of the upsampled 1x1x1 class scores."""
        finest, *coarser = (score(x) for score, x in zip(self.scores, features, strict=True))
        return finest + sum_of_upsampled(coarser, finest.shape[2:], self.interpolation)


def _check(
    in_channels: int,
    num_classes: int,
    channels: Sequence[int],
    groups: int,
    dropout: float,
    interpolation: str,
) -> None:
    if in_channels < 1:
        raise ValueError(f"in_channels must be positive, got {in_channels}")
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2 (background included), got {num_classes}")
    if groups < 1 or any(width < 1 or width % groups for width in channels):
        raise ValueError(f"channels must be divisible by groups={groups}, got {list(channels)}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), got {dropout}")
    if interpolation not in INTERPOLATIONS:
        raise ValueError(
            f"interpolation must be {' or '.join(INTERPOLATIONS)}, got {interpolation!r}"
        )


def _check_levels(
    levels: int, convolutions: Sequence[object], down: Sequence[int], up: Sequence[int]
) -> None:
    for name, given, wanted in (
        ("convolutions", convolutions, levels),
        ("depths_down", down, levels),
        ("depths_up", up, levels - 1),
    ):
        if len(given) != wanted:
            raise ValueError(
                f"{name} must have {wanted} entries for {levels} levels of channels, "
                f"got {len(given)}"
            )


def _check_checkpointing(count: int, levels: int) -> None:
    if count not in range(levels + 1):
        raise ValueError(f"checkpointing must be a number of levels, 0 to {levels}, got {count}")
