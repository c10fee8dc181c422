"""How many trained parameters a network has, by kind of layer."""

from collections import Counter
from collections.abc import Iterable, Mapping

from torch import nn

from gaborseg.layers import ParametricConv3d

KINDS = ("gabor", "conventional", "pointwise", "normalisation", "other")
"""What every count tells; other parametric kernels add the `kind` of their class."""


def parameter_counts(network: nn.Module) -> dict[str, int]:
    """Number of trained parameters by kind: all of ``KINDS``, then those of other kernels.

    ``pointwise`` are 1x1x1 convolutions; ``conventional`` are all larger ones, transposed ones too.
    Parameters that layers share count once.
    """
    counts = Counter(dict.fromkeys(KINDS, 0))
    seen: set[nn.Parameter] = set()
    for module in network.modules():
        kind = _kind(module)
        own = set(module.parameters(recurse=kind != "other")) - seen
        counts[kind] += sum(parameter.numel() for parameter in own if parameter.requires_grad)
        seen |= own
    return dict(counts)


def kinds_in(counts: Iterable[Mapping[str, int]]) -> list[str]:
    """The kinds that any of several counts has parameters of, in the order of ``KINDS``.

    Example:
        >>> kinds_in([{"other": 3, "gabor": 0}, {"hat": 2, "gabor": 8}])
        ['gabor', 'other', 'hat']
    """
    present = dict.fromkeys(kind for own in counts for kind, count in own.items() if count)
    return [*filter(present.__contains__, KINDS), *(kind for kind in present if kind not in KINDS)]


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
