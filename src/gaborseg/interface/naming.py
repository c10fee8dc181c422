"""What a run sets otherwise than its experiment does: the choices that its name says."""

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, cast

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from gaborseg.interface.choices import idle_groups
from gaborseg.interface.composition import each_interpolation_parsed_once
from gaborseg.interface.configuration import CONFIGURATIONS, hydra_started
from gaborseg.runs import WORKING, source_name

_MAIN = "config"
_EXPERIMENT = "experiment"
_UNSAID = ("sweeps", *WORKING)
_SOURCE = "weights.path"
_SEARCH_PATH = "hydra.searchpath="


def own_choices(
    config: DictConfig, choices: Mapping[str, Any], but: Collection[str] = ()
) -> list[str]:
    """Return what differs from the defaults of a run's experiment, in one order for all runs.

    The experiment comes first, unless it is the default one, then ``group=option``, then
    ``key=value`` of single settings, whoever sets them: the command, a sweep, a file of the user's.
    What never decides a result, such as the logger, is left out.

    Args:
        config: The composed configuration.
        choices: The option that was chosen in each group that has an effect.
        but: Groups and settings that are not to be returned.

    Example:
        >>> from gaborseg.interface import compose_config
        >>> config = compose_config(["augmentation=strong", "loss=dice", "network.dropout=0.2"])
        >>> own_choices(config, {"augmentation": "strong", "loss": "dice"}, but=["loss"])
        ['augmentation=strong', 'network.dropout=0.2']
    """
    experiment = choices.get(_EXPERIMENT, _default_experiment())
    base = f"~{_EXPERIMENT}" if experiment is None else f"{_EXPERIMENT}={experiment}"
    defaults = _default_choices(base)
    chosen = {group: choices[group] for group in choices.keys() - {_EXPERIMENT, "sweeps"}}
    groups = sorted(f"{g}={_text(o)}" for g, o in chosen.items() if o != defaults.get(g))
    added = [text if text.partition("=")[0] in defaults else f"+{text}" for text in groups]
    others = _composed(base, *added)
    idle = {"hydra", *idle_groups(config)}
    own = _settings({key: node for key, node in _plain(config).items() if key not in idle})
    same = _settings({key: node for key, node in others.items() if key not in idle})
    said = [base] if experiment != _default_experiment() else []
    said += [*groups, *_differences(same, own)]
    return [text for text in said if _key(text) not in but and not _is_unsaid(_key(text))]


def _default_experiment() -> str:
    defaults = OmegaConf.load(CONFIGURATIONS / f"{_MAIN}.yaml").defaults
    return next(node[_EXPERIMENT] for node in defaults if _EXPERIMENT in node)


@cache
def _default_choices(*overrides: str) -> dict[str, Any]:
    """Return the option of each group, without composing what the options hold."""
    with _started(), each_interpolation_parsed_once():
        loader = GlobalHydra.instance().config_loader()
        found = loader.compute_defaults_list(_MAIN, [*overrides, *_search_path()], RunMode.RUN)
    return dict(found.overrides.known_choices)


@cache
def _composed(*overrides: str) -> dict[str, Any]:
    """Return the settings, references as they are written."""
    with _started(), each_interpolation_parsed_once():
        return _plain(compose(_MAIN, [*overrides, *_search_path()]))


def _started() -> AbstractContextManager[object]:
    """Return a context with a Hydra: the command's, which knows the user's folders, or our own."""
    return nullcontext() if GlobalHydra.instance().is_initialized() else hydra_started()


def _search_path() -> list[str]:
    """Return where else the command looks for options."""
    of_hydra = HydraConfig.get().overrides.hydra if HydraConfig.initialized() else []
    return [override for override in of_hydra if override.startswith(_SEARCH_PATH)]


def _plain(config: DictConfig) -> dict[str, Any]:
    return cast(dict[str, Any], OmegaConf.to_container(config))


def _settings(node: Any, key: str = "") -> dict[str, Any]:
    """Return every single setting of a tree by its whole key."""
    if not isinstance(node, dict) or not node:
        return {key: node} if key else {}
    parts = [_settings(value, f"{key}.{name}".lstrip(".")) for name, value in node.items()]
    return {name: value for part in parts for name, value in part.items()}


def _differences(same: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """Return the settings that are new or have another value, then those that are gone."""
    changed = [key for key in own if own[key] not in ({}, same.get(key, own))]
    gone = [f"~{key}" for key in same.keys() - own.keys() if same[key] != {}]
    return sorted(_choice(key, own[key]) for key in changed) + sorted(gone)


def _choice(key: str, value: Any) -> str:
    """Return a setting with its value; trained weights are called by their run."""
    return f"weights={source_name(str(value))}" if key == _SOURCE else f"{key}={_text(value)}"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return "null" if value is None else str(value)


def _key(text: str) -> str:
    return text.lstrip("~").partition("=")[0]


def _is_unsaid(key: str) -> bool:
    """Return whether a group or a setting, or what it is a part of, never decides a result."""
    return any(f"{key}.".startswith(f"{unsaid}.") for unsaid in _UNSAID)
