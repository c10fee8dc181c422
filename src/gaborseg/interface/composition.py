"""Composing the runs of a sweep, for each of which Hydra takes a third of a second."""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import Any

from hydra._internal.config_loader_impl import get_overrides_dirname
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf import base as omegaconf_base


class SweepComposer:
    """Composes runs as Hydra does; of those that choose the same options, it composes one.

    In the others it replaces what they set to other values: text, numbers and truth values.

    Args:
        loader: Hydra's own.
        sweep: The configuration of the sweep as a whole.
    """

    def __init__(self, loader: ConfigLoader, sweep: DictConfig) -> None:
        self.loader = loader
        self.sweep = sweep
        self.composed: dict[tuple[str, ...], DictConfig] = {}
        self.parse = functools.cache(OverridesParser.create().parse_override)
        self.is_group = functools.cache(self._has_options)

    def __call__(self, choices: Sequence[str], number: int) -> DictConfig:
        """Return the configuration of a run, Hydra's part included, until the next call."""
        overrides = [self.parse(choice) for choice in choices]
        values = [override for override in overrides if not self._is_option(override)]
        if not all(map(_is_plain, values)):
            config = self.loader.load_sweep_config(self.sweep, [*choices])
        else:
            form = tuple(self._form(override) for override in overrides)
            if form not in self.composed:
                self.composed[form] = self.loader.load_sweep_config(self.sweep, [*choices])
            config = self.composed[form]
            _replace(config, values)
            _describe(config, overrides)
        with open_dict(config):
            config.hydra.job.update(id=str(number), num=number)
        return config

    def _has_options(self, key: str) -> bool:
        hydra = self.sweep.hydra
        options = self.loader.get_group_options(
            key, None, hydra.job.config_name, [*hydra.overrides.hydra]
        )
        return options != []

    def _is_option(self, override: Override) -> bool:
        """Return whether an override chooses a file of a group."""
        return override.package is not None or self.is_group(override.key_or_group)

    def _form(self, override: Override) -> str:
        """Return what decides how an override is composed: all of it, or no more than its key."""
        text = str(override.input_line)
        return text if self._is_option(override) else text.partition("=")[0]


@contextlib.contextmanager
def each_interpolation_parsed_once() -> Iterator[None]:
    """Have OmegaConf keep how it reads ``${...}``: in a sweep, that is most of the work."""
    omegaconf: Any = omegaconf_base
    parse = omegaconf.parse
    omegaconf.parse = functools.cache(parse)
    try:
        yield
    finally:
        omegaconf.parse = parse


def _is_plain(override: Override) -> bool:
    """Return whether an override sets a value that has no parts and refers to nothing."""
    value = override.value()
    return (
        not override.is_delete() and isinstance(value, str | int | float) and "${" not in str(value)
    )


def _replace(config: DictConfig, overrides: Sequence[Override]) -> None:
    for override in overrides:
        OmegaConf.update(config, override.key_or_group, override.value())


def _describe(config: DictConfig, overrides: Sequence[Override]) -> None:
    """Note the choices of a run in Hydra's part of its configuration."""
    form = config.hydra.job.config.override_dirname
    config.hydra.overrides.task = [override.input_line for override in overrides]
    config.hydra.job.override_dirname = get_overrides_dirname(
        overrides=[*overrides],
        kv_sep=form.kv_sep,
        item_sep=form.item_sep,
        exclude_keys=form.exclude_keys,
    )
