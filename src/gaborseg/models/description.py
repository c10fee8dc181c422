"""What a model says about itself, checked before anything is built or allocated from it."""

import importlib
import inspect
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn
from torch._subclasses.fake_tensor import unset_fake_temporarily

from gaborseg.data import LEVELS, check_patches
from gaborseg.scans import FORMS, is_window

_HOMES = ("gaborseg.networks", "gaborseg.layers", "gaborseg.decisions")
"""Where the classes are defined that a checkpoint may name as a ``_target_``."""
_ACTIVATIONS = {"CELU", "ELU", "GELU", "LeakyReLU", "Mish", "PReLU", "ReLU", "SELU", "SiLU"}
"""What of ``torch.nn`` it may name."""
_KEYWORDS = ("_target_", "_partial_")
_MOST_LAYERS = 32
"""Of each level: thousands take minutes to build, though they are without memory."""
_LIMITS = {
    "kernel_size": 31,
    "in_channels": 64,
    "num_classes": 256,
    "depths_down": _MOST_LAYERS,
    "depths_up": _MOST_LAYERS,
    "blocks": _MOST_LAYERS,
    "scale": 8,
}
_LARGEST_NUMBER, _MOST_VALUES, _LONGEST_LIST, _DEEPEST = 4096, 10_000, 32, 32
LARGEST_CUBE = 1024
_SPACINGS = (1e-3, 1e3)
"""Smallest and largest distance of two voxels, mm."""


class ModelError(ValueError):
    """A model file cannot be used; the message names the file, the rule and the value."""


def check_description(description: object) -> None:
    """Check the description in a checkpoint: mappings ``network``, ``decision`` and ``data``.

    Raises:
        ModelError: Something is missing, of the wrong kind, out of range or contradictory.
    """
    if not isinstance(description, dict):
        raise ModelError(f"description must be a mapping, got {type(description).__name__}")
    for key in ("network", "decision", "data"):
        if not isinstance(description.get(key), dict):
            raise ModelError(f"description must hold {key}, a mapping")
    data, network = description["data"], description["network"]
    check_data(data)
    wanted = {"in_channels": len(data["channels"]), "num_classes": len(data["structures"]) + 1}
    for key, count in wanted.items():
        _check_count(f"network.{key}", network.get(key), count)
    classes = wanted["num_classes"]
    told = description["decision"].get("num_classes", classes)
    _check_count("decision.num_classes", told, classes)


def _check_count(key: str, value: object, count: int) -> None:
    """Check that a value, whatever it is, is a number that is known.

    Raises:
        ModelError: It is not.
    """
    if type(value) is not int or value != count:
        raise ModelError(f"{key} must be {count}, got {_shortened(value)}")


def _shortened(value: object) -> str:
    """A value as a message shows it; a collection without the collections in it."""
    return (
        reprlib.repr(value) if isinstance(value, int | float | str | list) else type(value).__name__
    )


def check_data(data: Mapping[str, Any]) -> None:
    """Check what is said about the data, before anything is as large as it says.

    Raises:
        ModelError: Something is missing, of the wrong kind or out of range.
    """
    _check_names("structures", data.get("structures"), _LIMITS["num_classes"] - 1)
    _check_names("channels", data.get("channels"), _LIMITS["in_channels"])
    check_numbers("size", data.get("size"), 3, 1, LARGEST_CUBE)
    check_numbers("spacing", data.get("spacing"), 3, *_SPACINGS)
    if (patch_size := data.get("patch_size")) is not None:
        check_numbers("patch_size", [patch_size], 1, 1, LARGEST_CUBE)
        try:
            check_patches(patch_size, data["size"])
        except ValueError as error:
            raise ModelError(str(error)) from error
    preparation = data.get("preparation") or {}
    if not isinstance(preparation, dict) or preparation.get("forms", "agree") not in FORMS:
        raise ModelError(f"preparation.forms must be one of {', '.join(FORMS)}")
    _check_volumes(preparation, len(data["channels"]))
    window = preparation.get("window")
    if window is not None and not (isinstance(window, list) and is_window(window)):
        raise ModelError(
            f"preparation.window must be two numbers, the lower first, got {_shortened(window)}"
        )
    if (appearance := data.get("appearance")) is not None:
        _check_appearance(appearance, len(data["channels"]))


def _check_volumes(preparation: Mapping[str, Any], channels: int) -> None:
    """Check what is said about the volumes of 4-D files that are the channels, if they are.

    Raises:
        ModelError: It is of the wrong kind or out of range.
    """
    check_numbers("preparation.num_volumes", [preparation.get("num_volumes", 1)], 1, 1, 255)
    if volumes := preparation.get("volumes"):
        last = preparation.get("num_volumes", 1) - 1
        check_numbers("preparation.volumes", volumes, channels, 0, last)


def _check_appearance(appearance: object, channels: int) -> None:
    """Check what is said about the looks of the training scans.

    Raises:
        ModelError: It is of the wrong kind or out of range.
    """
    keys = {"quantiles", "distances", "field_of_view"}
    if not isinstance(appearance, dict) or set(appearance) != keys:
        raise ModelError(f"appearance must hold {', '.join(sorted(keys))}")
    check_numbers("appearance.field_of_view", appearance["field_of_view"], 2, 0.1, 1e5)
    check_numbers("appearance.distances", appearance["distances"], channels, 0.0, 1e6)
    rows = appearance["quantiles"]
    if not isinstance(rows, list) or len(rows) != channels:
        raise ModelError(f"appearance.quantiles must be {channels} lists")
    for row in rows:
        check_numbers("appearance.quantiles", row, len(LEVELS), -1e6, 1e6)


def _check_names(key: str, names: object, most: int) -> None:
    """Check a list of names that differ from one another.

    Raises:
        ModelError: It is anything else.
    """
    if (
        not isinstance(names, list)
        or not 1 <= len(names) <= most
        or not all(isinstance(name, str) and name and name.isprintable() for name in names)
        or len(set(names)) < len(names)
    ):
        raise ModelError(f"{key} must be 1 to {most} different names, got {_shortened(names)}")


def check_numbers(key: str, values: object, count: int, low: float, high: float) -> None:
    """Check a list of numbers in a range, integers if ``low`` is one.

    Raises:
        ModelError: It is anything else.
    """
    kinds = {int} if isinstance(low, int) else {int, float}
    if (
        not isinstance(values, list)
        or len(values) != count
        or not all(type(value) in kinds and low <= value <= high for value in values)
    ):
        raise ModelError(
            f"{key} must be {count} numbers in {low}..{high}, got {_shortened(values)}"
        )


def check_node(node: Mapping[str, Any], trust: Sequence[str] = ()) -> None:
    """Check every value of a configuration and every ``_target_`` in it; nothing is built.

    Args:
        node: The configuration.
        trust: Modules and packages, beside our own, whose ``nn.Module`` classes may be targets.
            They are imported if a target names them; nothing else ever is.

    Raises:
        ModelError: A value is not plain, a number out of bounds, or a target not allowed.
    """
    homes = (*_HOMES, *_trusted(trust))
    for count, (key, value, depth) in enumerate(walk(node)):
        if count > _MOST_VALUES or depth > _DEEPEST:
            raise ModelError("a network's configuration must be small, this one is not")
        if key.startswith("_") and key not in _KEYWORDS:
            raise ModelError(f"{key} is not allowed in a network's configuration")
        if key == "_target_":
            _check_target(value, homes)
        else:
            _check_value(key, value)


def walk(node: object, key: str = "", depth: int = 0) -> Iterator[tuple[str, object, int]]:
    """Yield key, value and depth of everything in a tree; list items have the key of their list."""
    yield key, node, depth
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield from walk(value, str(name), depth + 1)
    elif isinstance(node, list):
        for value in node:
            yield from walk(value, key, depth + 1)


def _check_value(key: str, value: object) -> None:
    """Check that a value is plain, resolved and not too large.

    Raises:
        ModelError: It is not.
    """
    limit = _LIMITS.get(key, _LARGEST_NUMBER)
    if not isinstance(value, bool | int | float | str | dict | list | None):
        raise ModelError(f"{key} must be a plain value, got {type(value).__name__}")
    if isinstance(value, int | float) and not abs(value) <= limit:
        raise ModelError(f"{key} must be at most {limit}, got {value}")
    if isinstance(value, list) and len(value) > _LONGEST_LIST:
        raise ModelError(f"{key} must have at most {_LONGEST_LIST} values, got {len(value)}")
    if isinstance(value, str) and "${" in value:
        raise ModelError(f"{key} must be resolved, got {value[:80]!r}")


def _trusted(names: Sequence[str]) -> tuple[str, ...]:
    """The modules that the user trusts, one name or several.

    Raises:
        ModelError: One is not the dotted name of a module.
    """
    found = (names,) if isinstance(names, str) else tuple(names)
    for name in found:
        if not isinstance(name, str) or not all(map(str.isidentifier, name.split("."))):
            raise ModelError(f"trust must be names of modules, as [my_kernels], got {name!r}")
    return found


def _check_target(target: object, homes: tuple[str, ...]) -> None:
    """Check that a ``_target_`` is an activation, or a module class defined in one of some homes.

    The class itself is looked at: ``gaborseg.networks.vnet_ds.torch.load`` is not ours.

    Raises:
        ModelError: It is anything else, or a trusted module cannot be imported.
    """
    if not _is_activation(str(target)) and not _is_at_home(str(target), homes):
        raise ModelError(
            "_target_ must be a network, layer, decision or activation of gaborseg, or a module "
            f"class of a package that you name with trust=[PACKAGE], got {target!r}"
        )


def _is_activation(target: str) -> bool:
    """Return whether a dotted path names one of torch's activations."""
    return target.removeprefix("torch.nn.") in _ACTIVATIONS and target.startswith("torch.nn.")


def _is_at_home(target: str, homes: tuple[str, ...]) -> bool:
    """Return whether a dotted path leads to an ``nn.Module`` class that is defined in a home."""
    module_name, _, name = target.rpartition(".")
    if not within(module_name, homes):
        return False
    try:
        with unset_fake_temporarily():  # whatever tensors a module makes must be real
            found = getattr(importlib.import_module(module_name), name, None)
    except ImportError as error:
        if within(module_name, _HOMES):
            return False
        raise ModelError(f"{module_name} of {target} cannot be imported: {error}") from error
    is_module = inspect.isclass(found) and issubclass(found, nn.Module)
    return is_module and within(found.__module__, homes)


def within(module_name: str, packages: tuple[str, ...]) -> bool:
    """Return whether a module is one of some packages or lies in one."""
    return any(f"{module_name}.".startswith(f"{package}.") for package in packages)
