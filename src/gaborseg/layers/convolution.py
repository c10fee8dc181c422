"""'Same' convolution, in the way that is fastest on the device.

On a CPU, torch runs one sample slower than two of half its size: a small one without oneDNN, the
weight gradient of a large one by matrix products that take twice as long. So a single volume is cut
in two overlapping slabs that go through as a batch. The sums are the same.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from gaborseg.layers.grid import check_volume

_FEWEST_VOXELS = 8**3
"""Below this a volume is not worth cutting: measured, with 3x3x3 and with 7x7x7 taps."""


def same_conv3d(x: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
    """Zero-padded convolution, (B, I, D, H, W) with (O, I, K, K, K) -> (B, O, D, H, W).

    Taps as far from the centre as the volume is long only ever meet padding: they are cut off.

    Args:
        x: Volumes.
        kernel: Odd sides.
        bias: Added to each output channel, (O,).

    Raises:
        TypeError: The volumes are not floating.
        ValueError: They have no voxel.
    """
    check_volume(x)
    for axis, size in enumerate(x.shape[-3:], start=2):
        half = kernel.shape[axis] // 2
        if half >= size:
            kernel = kernel.narrow(axis, half - size + 1, 2 * size - 1)
    convolve = conv3d_in_slabs if gains_from_slabs(x, kernel) else _padded_conv3d
    return convolve(x, kernel, bias)


def _padded_conv3d(x: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
    """'Same' convolution as torch runs it."""
    return F.conv3d(x, kernel, bias, padding="same")


def gains_from_slabs(x: Tensor, kernel: Tensor) -> bool:
    """Tell whether volumes are convolved faster in slabs; an exported graph stays as it is."""
    return (
        x.device.type == "cpu"
        and x.dim() == 5
        and len(x) == 1
        and x.shape[1] > 1
        and x.shape[2] > 1
        and math.prod(x.shape[2:]) >= _FEWEST_VOXELS
        and math.prod(kernel.shape[2:]) > 1
        and not torch.compiler.is_exporting()
    )


def conv3d_in_slabs(x: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
    """'Same' convolution of one volume, its upper and its lower half as a batch of two.

    An odd depth is padded by one more plane, which is cut off again.

    Args:
        x: One volume, (1, I, D, H, W), at least two voxels deep.
        kernel: Odd sides.
        bias: Added to each output channel, (O,).
    """
    above, *beside = (side // 2 for side in kernel.shape[2:])
    depth = x.shape[2]
    half = (depth + 1) // 2
    padded = F.pad(x, (0, 0, 0, 0, above, above + 2 * half - depth))
    slabs = torch.cat([padded[:, :, : half + 2 * above], padded[:, :, half:]])
    upper, lower = F.conv3d(slabs, kernel, bias, padding=(0, *beside)).split(1)
    return torch.cat([upper, lower], dim=2)[:, :, :depth]
