"""Networks: the paper's V-Net with deep supervision, and two baselines."""

from gaborseg.networks.baselines import MONAI_NETWORKS, NNUNet, VNet, require_monai
from gaborseg.networks.blocks import Convolution
from gaborseg.networks.parameter_counts import kinds_in, parameter_counts
from gaborseg.networks.vnet_ds import VNetDS

__all__ = [
    "MONAI_NETWORKS",
    "Convolution",
    "NNUNet",
    "VNet",
    "VNetDS",
    "kinds_in",
    "parameter_counts",
    "require_monai",
]
