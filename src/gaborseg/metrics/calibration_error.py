"""How far probabilities are from frequencies: expected calibration error, structure by structure.

M. P. Naeini, G. F. Cooper, M. Hauskrecht: Obtaining well calibrated probabilities using Bayesian
binning. AAAI 2015. For each class by itself: M. Kull et al.: Beyond temperature scaling. NeurIPS
2019.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_BINS = 15


def calibration_errors(
    probs: Tensor,
    truth: Tensor,
    ignore: int | None = None,
    unlabelled: Tensor | None = None,
) -> Tensor:
    """Expected calibration error of each structure of a case, (C - 1,) float64 in [0, 1].

    Voxels are put into 15 bins of equal width by the probability that they are given of being the
    structure. The error is the mean over all voxels of the difference, in their bin, between mean
    probability and share of voxels that are the structure. It is 0 where probabilities are
    frequencies; a structure that is given no probability anywhere has its share of the volume.

    Args:
        probs: (C, *S) in [0, 1], background included.
        truth: True label of each voxel, (*S), any integer type.
        ignore: Label of voxels that do not count.
        unlabelled: Labels of structures that were not looked for, (C,) bool: their error is NaN.

    Returns:
        NaN too where no voxel counts, or a probability is not a number.

    Raises:
        ValueError: The shapes do not belong together.

    Example:
        >>> import torch
        >>> probs = torch.tensor([[0.25, 0.25], [0.75, 0.75]])
        >>> calibration_errors(probs, torch.tensor([1, 0]))  # says 3/4, is 1/2
        tensor([0.2500], dtype=torch.float64)
    """
    if probs.shape[1:] != truth.shape:
        raise ValueError(
            f"probs must be (C, *S) and truth (*S), got {tuple(probs.shape)} and "
            f"{tuple(truth.shape)}"
        )
    counted = torch.ones_like(truth, dtype=torch.bool) if ignore is None else truth != ignore
    unknown = [False] * len(probs) if unlabelled is None else unlabelled.tolist()
    labels = truth[counted].cpu()
    errors = [
        math.nan
        if unknown[label]
        else _error(probs[label][counted].double().cpu(), labels == label)
        for label in range(1, len(probs))
    ]
    return torch.tensor(errors, dtype=torch.float64)


def _error(probability: Tensor, inside: Tensor) -> float:
    """Return the error of one structure from its counted voxels, (n,) each, on the CPU."""
    if len(inside) == 0 or not probability.isfinite().all():
        return math.nan
    bins = (probability * _BINS).long().clamp_(0, _BINS - 1)
    gaps = torch.bincount(bins, weights=probability - inside.double())
    return float(gaps.abs().sum()) / len(inside)
