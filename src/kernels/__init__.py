from src.kernels.gabor import PARAMETERS, gabor_kernel
from src.kernels.general import GENERAL_PARAMETERS, Part, general_gabor_kernel
from src.kernels.grid import check_convolution, check_kernel_size, voxel_offsets
from src.kernels.initial import (
    INITIAL_SCHEMES,
    InitialScheme,
    initial_gabor,
    initial_general_gabor,
)

__all__ = [
    "GENERAL_PARAMETERS",
    "INITIAL_SCHEMES",
    "PARAMETERS",
    "InitialScheme",
    "Part",
    "check_convolution",
    "check_kernel_size",
    "gabor_kernel",
    "general_gabor_kernel",
    "initial_gabor",
    "initial_general_gabor",
    "voxel_offsets",
]
