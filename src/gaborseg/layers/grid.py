"""The voxels that a kernel covers."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from numbers import Integral
from typing import Any, cast

import torch
from torch import Tensor

SMALLEST_SIGMA = 0.01
"""Voxels. Narrower envelopes are taken as this wide: every tap but the centre is already zero."""


def check_convolution(in_channels: int, out_channels: int, kernel_size: int) -> None:
    """Accept the sizes of a 'same' convolution.

    Raises:
        TypeError: A channel count or `kernel_size` is not an integer.
        ValueError: A channel count is below 1, or `kernel_size` is even or below 1.
    """
    for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
        if not _is_whole(channels):
            raise TypeError(f"{name} must be an integer, got {channels!r}")
        if channels < 1:
            raise ValueError(f"{name} must be at least 1, got {channels}")
    check_kernel_size(kernel_size)


def check_volume(x: Tensor) -> None:
    """Accept volumes (..., D, H, W) that can be convolved.

    Raises:
        TypeError: They are not floating.
        ValueError: They have no voxel.
    """
    if not x.is_floating_point():
        raise TypeError(f"x must be floating, got {x.dtype}: use x.float()")
    if 0 in x.shape[-3:]:
        raise ValueError(f"x must have at least one voxel along each axis, got {tuple(x.shape)}")


def _is_whole(number: object) -> bool:
    return isinstance(number, Integral) and not isinstance(number, bool)


def check_kernel_size(kernel_size: int) -> None:
    """Accept a kernel that has a central voxel.

    Raises:
        TypeError: `kernel_size` is not an integer.
        ValueError: `kernel_size` is even or below 1.
    """
    if not _is_whole(kernel_size):
        raise TypeError(f"kernel_size must be an integer, got {kernel_size!r}")
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be odd and positive, got {kernel_size}")


def one_side(name: str, sizes: Any) -> int:
    """The one number of an argument that may be given as three equal ones, as torch takes it.

    Raises:
        ValueError: They differ, or are not three.
    """
    if isinstance(sizes, int) or not isinstance(sizes, Sequence) or isinstance(sizes, str):
        return cast(int, sizes)  # what is no number is refused by who reads it
    if len(sizes) != 3 or len(set(sizes)) != 1:
        raise ValueError(f"{name} must be one number, or three equal ones, got {tuple(sizes)}")
    return sizes[0]


def check_strides(stride: int | Sequence[int]) -> tuple[int, int, int]:
    """The step of an output voxel along each axis.

    Raises:
        ValueError: It is not a positive integer, or three of them.
    """
    strides = tuple(stride) if isinstance(stride, Sequence) else (stride,) * 3
    if len(strides) != 3 or not all(_is_whole(step) and step > 0 for step in strides):
        raise ValueError(f"stride must be a positive integer, or three, got {stride}")
    return strides[0], strides[1], strides[2]


def without_autocast(like: Tensor) -> AbstractContextManager[Any]:
    """A block in which a tensor's device computes in the precision that it is told.

    The meta device, which computes nothing, has no other.
    """
    return nullcontext() if like.is_meta else torch.autocast(like.device.type, enabled=False)


def voxel_offsets(kernel_size: int, like: Tensor) -> Tensor:
    """Offsets -(K-1)/2 ... (K-1)/2 from the centre of a kernel, (K,), in voxels.

    The axes (D, H, W) of a kernel are the paper's (x, y, z); each has these offsets.

    Args:
        kernel_size: Side K, odd.
        like: A tensor that has the wanted dtype and device.
    """
    half = kernel_size // 2
    return torch.arange(-half, half + 1, dtype=like.dtype, device=like.device)
