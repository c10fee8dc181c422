from src.networks.baselines import BASELINES, NNUNet, VNet, require_monai
from src.networks.parameter_counts import KINDS, parameter_counts
from src.networks.vnet_ds import VNetDS

__all__ = [
    "BASELINES",
    "KINDS",
    "NNUNet",
    "VNet",
    "VNetDS",
    "parameter_counts",
    "require_monai",
]
