"""How many trained parameters a network has, by kind of layer."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from torch import nn

from gaborseg.layers import ParametricConv3d

KINDS = ("gabor", "conventional", "pointwise", "normalisation", "other")
"""What every count tells; other parametric kernels add the `kind` of their class."""


def parameter_counts(network: nn.Module) -> dict[str, int]:
    """Number of trained parameters by kind: all of ``KINDS``, then those of other kernels.

    ``pointwise`` are 1x1x1 convolutions; ``conventional`` are all larger ones, transposed ones too.
    """
    counts = Counter(dict.fromkeys(KINDS, 0))
    for module in network.modules():
        counts[_kind(module)] += sum(_own_sizes(module))
    return dict(counts)


def kinds_in(counts: Iterable[Mapping[str, int]]) -> list[str]:
    """The kinds that any of several counts has parameters of, in the order of ``KINDS``.

    Example:
        >>> kinds_in([{"other": 3, "gabor": 0}, {"hat": 2, "gabor": 8}])
        ['gabor', 'other', 'hat']
    """
    present = dict.fromkeys(kind for own in counts for kind, count in own.items() if count)
    return [*filter(present.__contains__, KINDS), *(kind for kind in present if kind not in KINDS)]


def _own_sizes(module: nn.Module) -> Iterator[int]:
    return (p.numel() for p in module.parameters(recurse=False) if p.requires_grad)


def _kind(module: nn.Module) -> str:
    match module:
        case ParametricConv3d():
            return module.kind
        case nn.Conv3d() | nn.ConvTranspose3d():
            return "pointwise" if set(module.kernel_size) == {1} else "conventional"
        case nn.GroupNorm() | nn.BatchNorm3d() | nn.InstanceNorm3d():
            return "normalisation"
        case _:
            return "other"
