"""Code for GPUs: Triton kernels, and whether a card may be trusted with them.

Every kernel here has a twin in torch that computes the same. On its first use on a card both run on
random input; a kernel that fails there or disagrees is replaced by its twin, and one line says so.
Without a card, `plans` lists every kernel as it is launched, `compiled` tells what it becomes on
each, and `estimate` models its time.
"""

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
from gaborseg.gpu.kernel import jit, next_power_of_2, triton
from gaborseg.gpu.normalisation import Normalised, fuses, sum_of_normalised
from gaborseg.gpu.pooling import max_pool
from gaborseg.gpu.resampling import Matrix, Resampling, coordinates, nearest_labels, resampled
from gaborseg.gpu.static.cards import CARDS, PROCESSORS, Card
from gaborseg.gpu.static.catalogue import plans
from gaborseg.gpu.static.compiled import Compiled, compiled
from gaborseg.gpu.static.estimate import Estimate, estimate, ffma_share
from gaborseg.gpu.static.launches import Launch, recorded_launches
from gaborseg.gpu.static.plans import Plan
from gaborseg.gpu.static.pretence import as_on_a_gpu
from gaborseg.gpu.trust import TwinCheck, trusted

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
    "jit",
    "keep",
    "max_pool",
    "nearest_labels",
    "next_power_of_2",
    "pin",
    "plans",
    "precision_of",
    "recorded_launches",
    "resampled",
    "sum_of_normalised",
    "triton",
    "trusted",
    "way",
]
