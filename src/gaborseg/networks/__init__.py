"""Networks: the paper's V-Net with deep supervision, and three baselines."""

from gaborseg.networks.baselines import MONAI_NETWORKS, NNUNet, VNet, require_monai
from gaborseg.networks.blocks import Convolution
from gaborseg.networks.hnoseg_xs import HNOSegXS
from gaborseg.networks.parameter_counts import kinds_in, parameter_counts
from gaborseg.networks.scaling import scale_kernels
from gaborseg.networks.vnet_ds import VNetDS

__all__ = [
    "MONAI_NETWORKS",
    "Convolution",
    "HNOSegXS",
    "NNUNet",
    "VNet",
    "VNetDS",
    "kinds_in",
    "parameter_counts",
    "require_monai",
    "scale_kernels",
]
