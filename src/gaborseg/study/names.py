"""How settings, structures and scores are called in tables and figures, and in which order.

A kernel or loss that is not listed here, of the user's own, is called by the name of its option and
comes after those that are.
"""

import math
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gaborseg.runs import source_name

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
ABBREVIATIONS = {
    "PCC": "loss by Pearson's correlation coefficient",
    "CCC": "loss by Lin's concordance correlation coefficient",
    "CE": "cross-entropy",
    "exp-log": "exponential logarithmic loss",
    "HD95": "95 % Hausdorff distance",
    "NSD": "normalised surface Dice",
    "ECE": "expected calibration error",
}
"""What short names of losses and scores stand for."""
AVERAGE = "average"
START = "weights"
"""The group of settings of what a run starts from."""
_PATH, _RATE, _FREEZE = (f"{START}.{name}" for name in ("path", "rate", "freeze"))
_SAY_NOTHING_ALONE = ("none", "paper")  # options of several groups
_LAST_NAME = re.compile(r"[^.]*(\.\d+)*$")  # of a setting, with its position in a list
_MODULE = re.compile(r"^(\w+\.)+(?=[A-Za-z_]\w*$)")  # before the name of a class


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
            "95 % Hausdorff distance: the 95th percentile of the distances between the surfaces of "
            "prediction and truth. A structure that is missed altogether counts with the diagonal "
            "of the volume.",
        ),
        Metric(
            "nsd",
            "NSD",
            "%",
            100,
            1,
            1,
            "Normalised surface Dice: the share of the surfaces of prediction and truth that lie "
            "within the tolerance.",
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
        Metric(
            "ece",
            "ECE",
            "%",
            100,
            2,
            -1,
            "Expected calibration error of the softmax: how far the probability of being a "
            "structure is from the share of voxels that are it, in 15 bins of probability, as a "
            "mean over all voxels of the volume.",
        ),
        Metric(
            "calibrated_ece",
            "calibrated ECE",
            "%",
            100,
            2,
            -1,
            "The same of the scores of the calibrated decision, cut to 0 ... 1.",
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


def readable_split(name: str) -> str:
    """Return a split as the reader sees it: a number, or the name of a split file.

    >>> readable_split("0"), readable_split("split"), readable_split("ours")
    ('split 0', 'split', 'split ours')
    """
    return name if name.lower().startswith("split") else f"split {name}"


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


def option_in_words(group: str, option: Hashable) -> str:
    """Return an option's name, with its group's if it says nothing by itself.

    >>> option_in_words("decision", "calibrated"), option_in_words("augmentation", "paper")
    ('calibrated', 'augmentation paper')
    """
    name = readable(str(option), {})
    return f"{group} {name}" if option in _SAY_NOTHING_ALONE else name


def setting_in_words(key: str, value: Hashable) -> str:
    """Return a single setting, called by the last part of its name, and its value.

    >>> setting_in_words("network.activation._target_", "torch.nn.ELU")
    'activation ELU'
    >>> setting_in_words("augmentation.transforms.affine.scale.1", 1.25)
    'scale.1 1.25'
    """
    found = _LAST_NAME.search(key.removesuffix("._target_"))
    text = f"{value:g}" if isinstance(value, float) else _MODULE.sub("", str(value))
    return f"{found[0] if found else key} {text}"


def starts_in_words(runs: Sequence[Mapping[str, Any]]) -> list[str | None]:
    """Return what each run starts from, None where these are initial weights.

    Sources of one name are called by their whole paths.

    Args:
        runs: The settings of each run, flat.

    Example:
        >>> weights = {"weights.path": "outputs/runs/default", "weights.rate": 0.1}
        >>> starts_in_words([{}, weights | {"weights.freeze.0": "encoder"}])
        [None, 'from default, 0.1x rate, encoder frozen']
    """
    paths = {run[_PATH] for run in runs if run.get(_PATH) is not None}
    names = {path: source_name(str(path)) for path in paths}
    if len({*names.values()}) < len(names):
        names = {path: str(path) for path in paths}
    found = [names.get(run.get(_PATH)) for run in runs]
    return [
        name and ", ".join((f"from {name}", *_changes(run)))
        for name, run in zip(found, runs, strict=True)
    ]


def _changes(settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a run does otherwise than to train all that it has loaded at its own rate."""
    if (rate := settings.get(_RATE, 1)) != 1:
        yield f"{rate:g}x rate"
    if frozen := [str(v) for key, v in settings.items() if key.startswith(f"{_FREEZE}.")]:
        yield f"{' + '.join(frozen)} frozen"
