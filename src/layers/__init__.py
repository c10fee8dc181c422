from src.layers.conventional import ConventionalConv3d
from src.layers.gabor import GaborConv3d, GeneralGaborConv3d, settle_algorithms

__all__ = ["ConventionalConv3d", "GaborConv3d", "GeneralGaborConv3d", "settle_algorithms"]
