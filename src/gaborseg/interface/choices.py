"""What the choice of a kernel means: networks with kernels of their own have no use for it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from gaborseg.interface.errors import UserError

_OF_KERNELS = ("kernel", "rates", "activation")
_PARTS = ("network", "loss", "data", "optimizer", "scheduler", "decision", "trainer")
_LISTS = ("logger", "callbacks")
_OF_GROUP = re.compile(rf"[+~]*({'|'.join(_OF_KERNELS)})\b")


def refuse_missing_parts(config: DictConfig) -> None:
    """Refuse a configuration in which a group has no option, or something else than settings.

    Raises:
        UserError: There is one; the message names it.
    """
    for group in (*_PARTS, *_LISTS):
        found = config.get(group)
        if not isinstance(found, DictConfig) or (group in _PARTS and "_target_" not in found):
            raise UserError(f"{group} must be one of its options, got {found}: --help lists them")
    parts = {f"{group}.{name}": part for group in _LISTS for name, part in config[group].items()}
    for key, part in parts.items():
        if not isinstance(part, DictConfig) or "_target_" not in part:
            raise UserError(f"{key} must have a _target_, got {part}; ~{key} leaves it out")


def takes_kernels(config: DictConfig) -> bool:
    """Return whether the network of a configuration is told how to convolve by ``kernel=``."""
    return "kernel" in _used_groups(config)


def idle_groups(config: DictConfig) -> set[str]:
    """Return the groups that have no effect on the network of a configuration."""
    return {*_OF_KERNELS} - _used_groups(config)


def _used_groups(config: DictConfig) -> set[str]:
    """Return the groups that the network refers to, itself or through the kernels it takes."""
    used = set(_interpolated(OmegaConf.to_container(config.network)))
    if "kernel" in used:
        used |= set(_interpolated(OmegaConf.to_container(config.kernel)))
    return used


def _interpolated(node: object) -> Iterator[str]:
    """Yield the group of every interpolation in a tree: ``kernel`` of ``${kernel.levels}``."""
    if isinstance(node, str):
        yield from re.findall(r"\$\{(\w+)", node)
    elif isinstance(node, dict | list):
        for value in node.values() if isinstance(node, dict) else node:
            yield from _interpolated(value)


def effective_choices(config: DictConfig, choices: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were chosen in each group, without those that have no effect."""
    idle = idle_groups(config)
    return {group: option for group, option in choices.items() if group not in idle}


def effective_settings(config: DictConfig) -> dict[str, Any]:
    """Return a configuration, resolved and plain, without the kernels that have no effect.

    Hydra's own part is left out, and ``weights`` of a run that starts from none.
    """
    settings = {str(key): _resolved(config[key]) for key in config if key != "hydra"}
    if not takes_kernels(config):
        del settings["kernel"]
    weights = settings.get("weights")
    if isinstance(weights, dict) and weights["path"] is None:
        del settings["weights"]  # so that a run of before there were any has the same settings
    return settings


def _resolved(value: Any) -> Any:
    if not OmegaConf.is_config(value):
        return value
    return OmegaConf.to_container(value, resolve=True, throw_on_missing=True)


def refuse_idle_kernel(
    config: DictConfig, choices: Mapping[str, Any], overrides: Sequence[str]
) -> None:
    """Refuse overrides of kernels that have no effect: a sweep would train one network repeatedly.

    Raises:
        UserError: There is one.
    """
    if takes_kernels(config):
        return
    groups = idle_groups(config)
    for override in overrides:
        if (found := _OF_GROUP.match(override)) and found[1] in groups:
            raise UserError(
                f"{override} must be left out with network={choices['network']}, "
                "which has kernels of its own"
            )
