"""Everything that is scored of one segmented case: overlap, surfaces and volumes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from gaborseg.metrics.overlap import confusion_counts, counted_labels, dice_from_counts
from gaborseg.metrics.surface import surface_scores


class CaseScores(NamedTuple):
    """Scores of the structures 1 ... L of a case, (L,) float64 each.

    dice and nsd lie in [0, 1], hd95 is in mm; they are NaN where a structure is absent from both
    maps, and the worst possible (0, 0 and the diagonal of the image) where only one has it.
    volume and true_volume are in mm^3, 0 where a structure is absent.
    """

    dice: Tensor
    hd95: Tensor
    nsd: Tensor
    volume: Tensor
    true_volume: Tensor


def case_scores(
    prediction: Tensor,
    truth: Tensor,
    num_structures: int,
    *,
    spacing: Sequence[float],
    tolerance: float,
    ignore: int | None = None,
    unlabelled: Tensor | None = None,
) -> CaseScores:
    """Dice, HD95, NSD and volumes of a case.

    Args:
        prediction: Predicted label of each voxel, (*S), any integer type, 0 ... L.
        truth: True label of each voxel, (*S), likewise.
        num_structures: L, without the background.
        spacing: Millimetres from voxel to voxel along each axis of S.
        tolerance: Millimetres that a surface may be off and still count as found (NSD).
        ignore: Label of voxels of the truth that do not count: both maps are background there.
        unlabelled: Labels of structures that were not looked for in the truth, (L + 1,) bool: they
            are absent from both maps.

    Raises:
        ValueError: The shapes differ, a label is out of range, the spacing is not one positive
            number an axis, or the tolerance is negative or not finite.
    """
    rows = None if unlabelled is None else unlabelled[None]
    prediction, truth = (
        maps[0] for maps in counted_labels(prediction[None], truth[None], ignore, rows)
    )
    hd95, nsd = surface_scores(
        prediction, truth, num_structures, spacing=spacing, tolerance=tolerance
    )
    counts = confusion_counts(prediction[None].cpu(), truth[None].cpu(), num_structures + 1)
    voxels = counts[0].double()
    voxel = math.prod(spacing)
    return CaseScores(
        dice=dice_from_counts(counts)[0, 1:],
        hd95=hd95,
        nsd=nsd,
        volume=voxels.sum(0)[1:] * voxel,
        true_volume=voxels.sum(1)[1:] * voxel,
    )
