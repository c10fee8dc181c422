"""Losses on logits and integer label maps; no volume is encoded one-hot."""

from gaborseg.losses.base import StatisticsLoss
from gaborseg.losses.ccc import CCCLoss
from gaborseg.losses.cross_entropy import CrossEntropyLoss, DiceCELoss
from gaborseg.losses.exp_log import ExpLogLoss
from gaborseg.losses.masked import MaskedLoss, counted_voxels
from gaborseg.losses.overlap import DiceLoss, JaccardLoss, TverskyLoss
from gaborseg.losses.pcc import PCCLoss
from gaborseg.losses.statistics import LabelStatistics

__all__ = [
    "CCCLoss",
    "CrossEntropyLoss",
    "DiceCELoss",
    "DiceLoss",
    "ExpLogLoss",
    "JaccardLoss",
    "LabelStatistics",
    "MaskedLoss",
    "PCCLoss",
    "StatisticsLoss",
    "TverskyLoss",
    "counted_voxels",
]
