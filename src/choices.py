"""What the choice of a kernel means: networks with kernels of their own have no use for it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from src.command import UserError

OF_KERNELS = ("kernel", "rates", "activation")
IDLE = re.compile(rf"[+~]*({'|'.join(OF_KERNELS)})\b.*")


def takes_kernels(config: DictConfig) -> bool:
    """Return whether the network of a configuration is told how to convolve by ``kernel=``."""
    return "${kernel." in OmegaConf.to_yaml(config.network)


def effective_choices(config: DictConfig, choices: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were chosen in each group, without those that have no effect."""
    idle = () if takes_kernels(config) else OF_KERNELS
    return {group: option for group, option in choices.items() if group not in idle}


def effective_settings(config: DictConfig) -> dict[str, Any]:
    """Return a configuration, resolved and plain, without the kernels that have no effect."""
    resolved = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    settings = cast(dict[str, Any], resolved)
    if not takes_kernels(config):
        del settings["kernel"]
    return settings


def refuse_idle_kernel(
    config: DictConfig, choices: Mapping[str, Any], overrides: Sequence[str]
) -> None:
    """Refuse overrides of kernels that have no effect: a sweep would train one network repeatedly.

    Raises:
        UserError: There is one.
    """
    idle = [override for override in overrides if IDLE.fullmatch(override)]
    if idle and not takes_kernels(config):
        raise UserError(
            f"{idle[0]} must be left out with network={choices['network']}, "
            "which has kernels of its own"
        )
