from src.networks.parameter_counts import KINDS, parameter_counts
from src.networks.vnet_ds import VNetDS

__all__ = ["KINDS", "VNetDS", "parameter_counts"]
