"""How settings, structures and scores are called in tables and figures, and in which order.

A kernel or loss that is not listed here, of the user's own, is called by the name of its option and
comes after those that are.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

NETWORKS = {  # that have kernels of their own, or none
    "vnet": "V-Net",
    "nnunet": "nnU-Net U-Net",
    "hnoseg_xs": "HNOSeg-XS",
}
KERNELS = {"conventional": "conventional", "gabor": "Gabor", "mixed": "mixed", **NETWORKS}
LOSSES = {
    "pcc": "PCC",
    "dice": "Dice",
    "cross_entropy": "cross-entropy",
    "ccc": "CCC",
    "jaccard": "Jaccard",
    "tversky": "Tversky",
    "exp_log": "exp-log",
    "dice_ce": "Dice + CE",
}
STRUCTURES = {
    "third_ventricle": "3rd ventricle",
    "fourth_ventricle": "4th ventricle",
    "cvl_i_v": "CVL I-V",
    "cvl_vi_vii": "CVL VI-VII",
    "cvl_viii_x": "CVL VIII-X",
    "inferior_lateral_ventricle": "inf. lateral ventricle",
}
AVERAGE = "average"


@dataclass(frozen=True)
class Metric:
    """A score of a structure of a subject.

    Attributes:
        name: Column of ``subjects.csv``, or what is computed from its columns.
        title: As a heading.
        unit: Of the shown values.
        factor: Shown value = value * factor.
        digits: Decimals that are shown.
        better: 1 if higher is better, -1 if lower is, 0 if neither.
        meaning: In a sentence.
    """

    name: str
    title: str
    unit: str
    factor: float
    digits: int
    better: int
    meaning: str


METRICS = {
    metric.name: metric
    for metric in (
        Metric("dice", "Dice", "%", 100, 1, 1, "Overlap of prediction and truth."),
        Metric(
            "hd95",
            "HD95",
            "mm",
            1,
            2,
            -1,
            "95th percentile of the distances between the surfaces of prediction and truth.",
        ),
        Metric(
            "nsd",
            "NSD",
            "%",
            100,
            1,
            1,
            "Share of the surfaces of prediction and truth that lie within the tolerance.",
        ),
        Metric(
            "volume_error",
            "volume error",
            "%",
            100,
            1,
            0,
            "Predicted minus true volume, relative to the true one: its bias.",
        ),
        Metric(
            "absolute_volume_error",
            "absolute volume error",
            "%",
            100,
            1,
            -1,
            "Difference of predicted and true volume, relative to the true one.",
        ),
    )
}


def readable(name: str, known: Mapping[str, str] = STRUCTURES) -> str:
    """Return a name as the reader sees it.

    >>> readable("cvl_i_v"), readable("cerebral_grey"), readable("pcc", LOSSES)
    ('CVL I-V', 'cerebral grey', 'PCC')
    """
    return known.get(name, name.replace("_", " "))


def rank_of(name: str, known: Mapping[str, str]) -> tuple[int, str]:
    """Return a sorting key: the known names in their order, then all others by name."""
    names = list(known)
    return (names.index(name) if name in known else len(names), name)


def readable_rate(rate: float | None) -> str:
    """Return a learning rate, exact powers of ten and of its root as such.

    >>> readable_rate(1e-3), readable_rate(10**-2.5), readable_rate(0.003), readable_rate(None)
    ('10^-3', '10^-2.5', '0.003', 'not recorded')
    """
    if rate is None:
        return "not recorded"
    exponent = math.log10(rate)
    rounded = round(2 * exponent) / 2
    return f"10^{rounded:g}" if abs(exponent - rounded) < 1e-4 else f"{rate:.3g}"
