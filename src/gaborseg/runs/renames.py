"""Settings that an earlier version saved, as this one would have saved them.

A network's kernels had no scale. All of the augmentation was done on the CPU, without a setting.
The augmentation was once a single transform. Before that, the package was called ``src``,
decisions lived in ``src.training``, and the way in which a Gabor layer convolves was a setting.
Earlier still, there were no settings for how a Gabor layer starts and is trained.
"""

import copy
from typing import Any

_FORMER_PACKAGE = "src."
_MOVED = {f"training.{name}": f"decisions.{name}" for name in ("Argmax", "Calibrated")}
_FORMER_GABOR_LAYERS = ("src.layers.GaborConv3d", "src.layers.GeneralGaborConv3d")
_GONE = "algorithm"
_SINGLE_TRANSFORMS = ("src.data.RandomAffine", "gaborseg.data.RandomAffine")
_NETWORK = "gaborseg.networks.VNetDS"
_DATA = ("gaborseg.data.SegmentationData", "gaborseg.data.SegmentationData.from_folder")
_KINDS = ("sigma", "theta", "amplitude", "frequency", "phase")


def as_saved_now(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings in today's names and with today's keys; those of today stay as they are.

    A stranger's tree may be deep, or refer to a part of itself many times: no part is copied twice.

    Args:
        settings: Plain nested values, as of ``config.yaml`` or of a checkpoint's description.

    Example:
        >>> as_saved_now({"loss": {"_target_": "src.losses.PCCLoss"}, "algorithm": "auto"})
        {'loss': {'_target_': 'gaborseg.losses.PCCLoss'}}
    """
    settings = {key: value for key, value in settings.items() if key != _GONE}
    originals, copies, waiting = [], dict[int, Any](), list[Any]([settings])
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            _update(node)
        for key, value in [*(node.items() if isinstance(node, dict) else enumerate(node))]:
            if isinstance(value, dict | list):
                if id(value) not in copies:
                    originals.append(value)  # kept, so that no other part gets its id
                    copies[id(value)] = copy.copy(value)
                    waiting.append(copies[id(value)])
                node[key] = copies[id(value)]
    return settings


def _update(node: dict[str, Any]) -> None:
    augmentation = node.get("augmentation")
    if isinstance(augmentation, dict) and augmentation.get("_target_") in _SINGLE_TRANSFORMS:
        node["augmentation"] = _pipeline(augmentation)
    target = node.get("_target_")
    if not isinstance(target, str):
        return
    if target.startswith(_FORMER_PACKAGE):
        if target in _FORMER_GABOR_LAYERS:
            _complete_gabor_layer(node)
        name = target.removeprefix(_FORMER_PACKAGE)
        node["_target_"] = f"gaborseg.{_MOVED.get(name, name)}"
    if node["_target_"] in _DATA:
        node.setdefault("augment_on", "cpu")
    if node["_target_"] == _NETWORK:
        node.setdefault("scale", 1)


def _pipeline(affine: dict[str, Any]) -> dict[str, Any]:
    """Return the pipeline of one transform, or of none if that was never applied."""
    transforms = {"affine": affine} if affine.get("probability", True) else {}
    return {"_target_": "gaborseg.data.Augmentation", "transforms": transforms}


def _complete_gabor_layer(node: dict[str, Any]) -> None:
    """Say what every layer did before there was a setting for it."""
    node.pop(_GONE, None)
    node.setdefault("initial", "uniform")
    node.setdefault("sigma_scale", "raw")
    rates = node.get("rates", {})
    if isinstance(rates, dict):
        node["rates"] = dict.fromkeys(_KINDS, 1) | rates
