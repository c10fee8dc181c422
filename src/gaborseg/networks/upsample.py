"""Upsampling as one small matrix product per axis.

Linear and nearest interpolation are linear maps that treat axes and channels alone. Written as
products with (large, small) matrices they give the values of ``torch.nn.functional.interpolate``
(with ``align_corners=False``), run at the speed of matrix products, forward and backward, and are
deterministic on every device.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from gaborseg.networks.constants import outside_modes

INTERPOLATIONS = {"trilinear": "linear", "nearest": "nearest"}


def upsample(features: Tensor, size: Sequence[int], interpolation: str = "trilinear") -> Tensor:
    """Return features (B, C, *S) at another size, (B, C, *size).

    Args:
        features: Three spatial axes.
        size: Voxels along each axis.
        interpolation: ``"trilinear"`` or ``"nearest"``.
    """
    return sum_of_upsampled([features], size, interpolation)


def sum_of_upsampled(
    features: Sequence[Tensor], size: Sequence[int], interpolation: str = "trilinear"
) -> Tensor:
    """Return the sum of several features, each brought to one size: (B, C, *size).

    The first axis is the last to grow, for all of them in one product: nothing but the sum is ever
    held at full size.

    Args:
        features: Tensors (B, C, *S) that differ in their spatial sizes alone.
        size: Voxels along each axis.
        interpolation: ``"trilinear"`` or ``"nearest"``.
    """
    planes = torch.cat([_grow_planes(x, size, interpolation) for x in features], dim=2)
    matrix = torch.cat([_matrix_for(x, 2, size[0], interpolation) for x in features], dim=1)
    return (matrix @ planes).unflatten(3, tuple(size[1:]))


def _grow_planes(x: Tensor, size: Sequence[int], interpolation: str) -> Tensor:
    """(B, C, d, h, w) to (B, C, d, H * W)."""
    wide = x @ _matrix_for(x, 4, size[2], interpolation).T
    return (_matrix_for(x, 3, size[1], interpolation) @ wide).flatten(3)


def _matrix_for(x: Tensor, axis: int, large: int, interpolation: str) -> Tensor:
    keep = x.is_cuda and not torch.compiler.is_compiling()
    matrix_like = _kept_matrix if keep else _matrix
    return matrix_like(x.shape[axis], large, interpolation, x.device, x.dtype)


def _matrix(
    small: int, large: int, interpolation: str, device: torch.device, dtype: torch.dtype
) -> Tensor:
    return interpolation_matrix(small, large, interpolation).to(device=device, dtype=dtype)


@lru_cache(maxsize=256)
def _kept_matrix(
    small: int, large: int, interpolation: str, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """Kept where it is used: a copy to a GPU would wait for all that the GPU has to do."""
    with torch.inference_mode(False), torch.no_grad(), outside_modes():
        return _matrix(small, large, interpolation, device, dtype)


@lru_cache(maxsize=256)
def interpolation_matrix(small: int, large: int, interpolation: str) -> Tensor:
    """Return the (large, small) matrix that interpolates along one axis.

    Raises:
        ValueError: If the interpolation is unknown.
    """
    if interpolation not in INTERPOLATIONS:
        raise ValueError(
            f"interpolation must be {' or '.join(INTERPOLATIONS)}, got {interpolation!r}"
        )
    with torch.inference_mode(False), torch.no_grad(), outside_modes():
        unit = torch.eye(small, dtype=torch.float64, device="cpu")[None]
        return F.interpolate(unit, size=large, mode=INTERPOLATIONS[interpolation])[0].T.contiguous()
