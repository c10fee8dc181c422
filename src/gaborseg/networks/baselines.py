"""Networks that others know, to compare with: V-Net and nnU-Net's plain U-Net, built by MONAI.

MONAI comes with the extra ``baselines``; it is imported when a network is built, not before. Both
networks have kernels of their own and start as their authors let them start.
"""

import math
from collections.abc import Sequence
from types import ModuleType

from torch import Tensor, nn

from gaborseg.networks.padding import padded_inside

MONAI_NETWORKS = ("gaborseg.networks.VNet", "gaborseg.networks.NNUNet")
"""The ``_target_`` of networks that cannot be built without MONAI."""

_VNET_CHANNELS = 16
_VNET_STRIDE = (16, 16, 16)
_SMALLEST_SIDE = 4
"""Voxels along an axis that nnU-Net's planning leaves at the coarsest level, at least."""
_FEWEST_LEVELS = 3

_Strides = tuple[tuple[int, ...], ...]


def require_monai() -> ModuleType:
    """Return MONAI's networks.

    Raises:
        ImportError: MONAI is not installed.
    """
    try:
        from monai.networks import nets
    except ImportError as error:
        raise ImportError(
            "V-Net and nnU-Net's U-Net need MONAI: pip install -e '.[baselines]' in a clone"
        ) from error
    return nets


class VNet(nn.Module):
    """V-Net with MONAI's settings: (B, I, D, H, W) to logits (B, C, D, H, W), for any volume size.

    Residual blocks of 5x5x5 convolutions with batch normalisation and ELU on five levels, strided
    and transposed convolutions between them. Half of the channels are dropped at the coarser levels
    and where encoder and decoder join.

    Args:
        in_channels: Number of image channels I, a divisor of 16: the first block adds the image,
            repeated, to its 16 feature channels.
        num_classes: Number of classes C, background included.

    Raises:
        ImportError: MONAI is not installed.
        ValueError: 16 is not a multiple of ``in_channels``.

    References:
        Milletari et al., V-Net: Fully Convolutional Neural Networks for Volumetric Medical Image
        Segmentation, 3DV 2016.
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        if in_channels < 1 or _VNET_CHANNELS % in_channels:
            raise ValueError(f"in_channels of V-Net must divide 16, got {in_channels}")
        self.network = require_monai().VNet(in_channels=in_channels, out_channels=num_classes)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (B, C, D, H, W); the image is padded inside to multiples of 16."""
        multiples = _with_two_voxels(_VNET_STRIDE, image.shape[2:])
        return padded_inside(self.network, image, multiples)


class NNUNet(nn.Module):
    """nnU-Net's plain U-Net: (B, I, D, H, W) to logits (B, C, D, H, W), for any volume size.

    Two 3x3x3 convolutions a level, each with instance normalisation and leaky ReLU; strided
    convolutions on the way down, transposed ones on the way up. As many levels as nnU-Net plans
    for isotropic volumes of a size. Without deep supervision: our losses take one map of logits.

    Args:
        in_channels: Number of image channels I.
        num_classes: Number of classes C, background included.
        size: Voxels along each axis of the volumes, or patches, that it is trained on. It plans the
            levels alone: other sizes go through as well.
        features: Feature channels of each level, finest first; the last ones may remain unused.

    Raises:
        ImportError: MONAI is not installed.
        ValueError: ``size`` is not three positive numbers, or fewer than three levels have
            features.

    References:
        Isensee et al., nnU-Net: a self-configuring method for deep learning-based biomedical image
        segmentation, Nature Methods 18, 2021.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        size: Sequence[int],
        *,
        features: Sequence[int] = (32, 64, 128, 256, 320, 320),
    ) -> None:
        super().__init__()
        strides = planned_strides(size, most_levels=len(features))
        self.stride = tuple(math.prod(steps) for steps in zip(*strides, strict=True))
        self.network = require_monai().DynUNet(
            spatial_dims=3,
            in_channels=in_channels,
            out_channels=num_classes,
            kernel_size=(3,) * len(strides),
            strides=strides,
            upsample_kernel_size=strides[1:],
            filters=tuple(features)[: len(strides)],
        )
        self.network.heads = []  # of deep supervision

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (B, C, D, H, W); the image is padded inside to multiples of the stride."""
        return padded_inside(self.network, image, _with_two_voxels(self.stride, image.shape[2:]))


def planned_strides(size: Sequence[int], most_levels: int) -> _Strides:
    """Return the strides of each level along each axis, as nnU-Net plans them for isotropic voxels.

    An axis is halved for as long as at least four voxels remain of it.

    Args:
        size: Voxels along each axis.
        most_levels: No more levels than this.

    Raises:
        ValueError: ``size`` is not three positive numbers, or ``most_levels`` is below 3.

    Example:
        >>> [len(planned_strides((side,) * 3, most_levels=6)) for side in (48, 64, 96, 128)]
        [4, 5, 5, 6]
    """
    if most_levels < _FEWEST_LEVELS:
        raise ValueError(f"features must be given for at least 3 levels, got {most_levels}")
    sides = tuple(size) if isinstance(size, Sequence) else ()
    if len(sides) != 3 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ValueError(f"size must be three positive numbers of voxels, got {size}")
    strides: list[tuple[int, ...]] = [(1, 1, 1)]
    while len(strides) < most_levels:
        halved = [side >= 2 * _SMALLEST_SIDE for side in sides]
        if not any(halved):
            if len(strides) >= _FEWEST_LEVELS:
                break
            halved = [True] * 3
        strides.append(tuple(2 if half else 1 for half in halved))
        sides = tuple(-(-side // step) for side, step in zip(sides, strides[-1], strict=True))
    return tuple(strides)


def _with_two_voxels(stride: Sequence[int], size: Sequence[int]) -> tuple[int, ...]:
    """Return to which multiples a volume is to be padded: as the stride says, or the last twice.

    One voxel alone at the coarsest level has no variance to normalise by.
    """
    alone = all(side <= step for side, step in zip(size, stride, strict=True))
    return (*stride[:-1], 2 * stride[-1]) if alone else tuple(stride)
