"""Settings that a user adds with ``+`` and that nothing would read: most likely misspelt."""

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from omegaconf import DictConfig, OmegaConf

from gaborseg.interface.configuration import CONFIGURATIONS
from gaborseg.interface.errors import UserError

_MAIN = "config"
_ADDED = re.compile(r"\+{1,2}([\w.-]+)=")  # one with / or @ chooses an option of a group


def refuse_unread(config: DictConfig, choices: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Refuse added settings that nothing reads.

    Read is what an object is made with (it lies below a ``_target_``, whose class knows its own
    arguments), what another setting refers to, and the option of a group.

    Args:
        config: The composed configuration.
        choices: The option that was chosen in each group.
        overrides: Those of the command.

    Raises:
        UserError: There is one; the message names the setting that is nearest to it.
    """
    added = [match[1] for text in overrides if (match := _ADDED.match(text))]
    added = [key for key in added if key not in choices and not key.startswith("hydra.")]
    if not added:
        return
    nodes = OmegaConf.to_container(config)
    read = {*_references(nodes), *_own_settings()}
    for key in added:
        if not _is_read(key, nodes, read):
            raise UserError(_refusal(key, {*_keys(nodes)} - {*added}))


def _own_settings() -> list[str]:
    """Return the settings that are in no group: those of the main file itself."""
    own = [*_keys(OmegaConf.to_container(OmegaConf.load(CONFIGURATIONS / f"{_MAIN}.yaml")))]
    return [key for key in own if not any(other.startswith(f"{key}.") for other in own)]


def _is_read(key: str, nodes: Any, read: set[str]) -> bool:
    """Return whether an object takes a setting, or another setting refers to it."""
    parts, node = key.split("."), nodes
    for count, part in enumerate(parts, 1):
        node = node.get(part) if isinstance(node, dict) else None
        if ".".join(parts[:count]) in read:
            return True
        if isinstance(node, dict) and "_target_" in node:
            return True
    return any(reference.startswith(f"{key}.") for reference in read)


def _references(node: object) -> Iterator[str]:
    """Yield what the interpolations in a tree name: ``kernel.levels`` of ``${kernel.levels}``."""
    if isinstance(node, str):
        yield from re.findall(r"\$\{([\w.-]+)\}", node)
    elif isinstance(node, dict | list):
        for value in node.values() if isinstance(node, dict) else node:
            yield from _references(value)


def _keys(node: object, prefix: str = "") -> Iterator[str]:
    """Yield every setting in a tree, groups included."""
    for name, value in node.items() if isinstance(node, dict) else ():
        if name != "hydra":
            yield f"{prefix}{name}"
            yield from _keys(value, f"{prefix}{name}.")


def _refusal(key: str, known: set[str]) -> str:
    """Return what is wrong, with the known setting that is written most like this one."""
    last = {name.rpartition(".")[2]: name for name in sorted(known, reverse=True)}
    near = get_close_matches(key, sorted(known), n=1)
    near += [last[name] for name in get_close_matches(key.rpartition(".")[2], last, n=1)]
    nearest = f"the nearest is {near[0]}; " if near else ""
    return f"+{key} must be a setting that something reads: {nearest}--cfg job shows all settings"
