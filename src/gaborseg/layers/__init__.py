"""Convolutions: conventional, and with kernels computed from trained parameters."""

from gaborseg.layers.conventional import ConventionalConv3d
from gaborseg.layers.draws import equal_energy
from gaborseg.layers.gabor import PARAMETERS, GaborConv3d, gabor_kernel, initial_gabor, synthesise
from gaborseg.layers.general_gabor import GeneralGaborConv3d
from gaborseg.layers.grid import voxel_offsets
from gaborseg.layers.parametric import ParametricConv3d
from gaborseg.layers.portable import portable_conv3d
from gaborseg.layers.spectral import native_available, spectral_conv3d

__all__ = [
    "PARAMETERS",
    "ConventionalConv3d",
    "GaborConv3d",
    "GeneralGaborConv3d",
    "ParametricConv3d",
    "equal_energy",
    "gabor_kernel",
    "initial_gabor",
    "native_available",
    "portable_conv3d",
    "spectral_conv3d",
    "synthesise",
    "voxel_offsets",
]
