"""Code for GPUs: Triton kernels, and whether a card may be trusted with them.

Every kernel here has a twin in torch that computes the same. On its first use on a card both run on
random input; a kernel that fails there or disagrees is replaced by its twin, and one line says so.
Without a card, `plans` lists every kernel as it is launched, `compiled` tells what it becomes on
each, and `estimate` models its time.
"""

import importlib
from typing import TYPE_CHECKING, Any

from gaborseg.gpu.choice import (
    Choices,
    Convolution,
    Way,
    choices_for,
    keep,
    pin,
    precision_of,
    way,
)
from gaborseg.gpu.normalisation import Normalised, fuses, sum_of_normalised
from gaborseg.gpu.pooling import max_pool
from gaborseg.gpu.resampling import Matrix, Resampling, coordinates, nearest_labels, resampled
from gaborseg.gpu.trust import TwinCheck, largest_difference, triton_installed, trusted

if TYPE_CHECKING:
    from gaborseg.gpu.static import (
        CARDS,
        PROCESSORS,
        Card,
        Compiled,
        Estimate,
        Launch,
        Plan,
        as_on_a_gpu,
        compiled,
        estimate,
        ffma_share,
        plans,
        recorded_launches,
    )

__all__ = [
    "CARDS",
    "PROCESSORS",
    "Card",
    "Choices",
    "Compiled",
    "Convolution",
    "Estimate",
    "Launch",
    "Matrix",
    "Normalised",
    "Plan",
    "Resampling",
    "TwinCheck",
    "Way",
    "as_on_a_gpu",
    "choices_for",
    "compiled",
    "coordinates",
    "estimate",
    "ffma_share",
    "fuses",
    "keep",
    "largest_difference",
    "max_pool",
    "nearest_labels",
    "pin",
    "plans",
    "precision_of",
    "recorded_launches",
    "resampled",
    "sum_of_normalised",
    "triton_installed",
    "trusted",
    "way",
]


def __getattr__(name: str) -> Any:
    """What is known of kernels without a card: it imports Triton, and is loaded when asked for."""
    if name in __all__:
        return getattr(importlib.import_module("gaborseg.gpu.static"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
