"""How many trained parameters a network has, by kind of layer."""

from collections import Counter
from collections.abc import Iterator

from torch import nn

from gaborseg.layers import GaborConv3d, GeneralGaborConv3d

KINDS = ("gabor", "conventional", "pointwise", "normalisation", "other")


def parameter_counts(network: nn.Module) -> dict[str, int]:
    """Return the number of trained parameters of each kind in ``KINDS``, in that order.

    ``pointwise`` are 1x1x1 convolutions; ``conventional`` are all larger ones, transposed ones too.
    """
    counts: Counter[str] = Counter()
    for module in network.modules():
        counts[_kind(module)] += sum(_own_sizes(module))
    return {kind: counts[kind] for kind in KINDS}


def _own_sizes(module: nn.Module) -> Iterator[int]:
    return (p.numel() for p in module.parameters(recurse=False) if p.requires_grad)


def _kind(module: nn.Module) -> str:
    match module:
        case GaborConv3d() | GeneralGaborConv3d():
            return "gabor"
        case nn.Conv3d() | nn.ConvTranspose3d():
            return "pointwise" if set(module.kernel_size) == {1} else "conventional"
        case nn.GroupNorm() | nn.BatchNorm3d() | nn.InstanceNorm3d():
            return "normalisation"
        case _:
            return "other"
