"""Code for GPUs: Triton kernels, and whether a card may be trusted with them.

Every kernel here has a twin in torch that computes the same. On its first use on a card both run on
random input; a kernel that fails there or disagrees is replaced by its twin, and one line says so.
"""

from gaborseg.gpu.kernel import jit, next_power_of_2, triton
from gaborseg.gpu.normalisation import Normalised, fuses, sum_of_normalised
from gaborseg.gpu.pooling import max_pool
from gaborseg.gpu.trust import TwinCheck, trusted

__all__ = [
    "Normalised",
    "TwinCheck",
    "fuses",
    "jit",
    "max_pool",
    "next_power_of_2",
    "sum_of_normalised",
    "triton",
    "trusted",
]
