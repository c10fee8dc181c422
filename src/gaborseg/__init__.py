"""3D segmentation with fully trainable Gabor kernels and the Pearson-correlation loss.

    >>> import torch
    >>> from gaborseg import GaborConv3d, PCCLoss
    >>> layer, loss = GaborConv3d(1, 3), PCCLoss()
    >>> logits = layer(torch.randn(2, 1, 8, 8, 8))
    >>> value = loss(logits, torch.randint(3, (2, 8, 8, 8)))

Layers: ``GaborConv3d`` (eq. 2), ``GeneralGaborConv3d`` (eq. 1), ``ConventionalConv3d``, and their
base for kernels of your own, ``ParametricConv3d``; ``gabor_kernel`` is eq. (2) itself.

Losses: ``PCCLoss``, ``CCCLoss``, ``DiceLoss``, ``JaccardLoss``, ``TverskyLoss``,
``CrossEntropyLoss``, ``DiceCELoss``, ``ExpLogLoss``, called ``loss(logits, target)``; the base for
losses of your own, ``StatisticsLoss``; ``MaskedLoss``, any of them without unlabelled voxels.

The rest of a method: ``VNetDS``, the paper's network; ``Calibrated`` and ``Argmax``, from logits to
labels; ``case_scores``, Dice, HD95, NSD and volumes; ``load_trained``, a trained network.

Training with Lightning: ``SegmentationData``, the data module, of an ``AtlasCohort`` or a folder,
with an ``Augmentation`` of TorchIO's transforms, ``RandomAffine``, ``RandomMirror`` and
``RandomContrast``; ``SegmentationModule``, the module around network and loss.

Names are imported when they are first used, so that ``import gaborseg`` takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gaborseg.data import (
        AtlasCohort,
        Augmentation,
        RandomAffine,
        RandomContrast,
        RandomMirror,
        SegmentationData,
    )
    from gaborseg.decisions import Argmax, Calibrated
    from gaborseg.layers import (
        ConventionalConv3d,
        GaborConv3d,
        GeneralGaborConv3d,
        ParametricConv3d,
        gabor_kernel,
    )
    from gaborseg.losses import (
        CCCLoss,
        CrossEntropyLoss,
        DiceCELoss,
        DiceLoss,
        ExpLogLoss,
        JaccardLoss,
        MaskedLoss,
        PCCLoss,
        StatisticsLoss,
        TverskyLoss,
    )
    from gaborseg.metrics import case_scores
    from gaborseg.models import load_trained
    from gaborseg.networks import VNetDS
    from gaborseg.training import SegmentationModule

__all__ = [
    "Argmax",
    "AtlasCohort",
    "Augmentation",
    "CCCLoss",
    "Calibrated",
    "ConventionalConv3d",
    "CrossEntropyLoss",
    "DiceCELoss",
    "DiceLoss",
    "ExpLogLoss",
    "GaborConv3d",
    "GeneralGaborConv3d",
    "JaccardLoss",
    "MaskedLoss",
    "PCCLoss",
    "ParametricConv3d",
    "RandomAffine",
    "RandomContrast",
    "RandomMirror",
    "SegmentationData",
    "SegmentationModule",
    "StatisticsLoss",
    "TverskyLoss",
    "VNetDS",
    "case_scores",
    "gabor_kernel",
    "load_trained",
]

_ROOMS = ("layers", "losses", "networks", "decisions", "metrics", "data", "models", "training")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"gaborseg.{name}")
    if name in __all__:
        for room in _ROOMS:
            module = import_module(f"gaborseg.{room}")
            if name in module.__all__:
                globals()[name] = value = getattr(module, name)
                return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
