"""Configurations: where they are, how they are composed, and objects made from them."""

import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import yaml
from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import DictConfig, ListConfig, OmegaConf

from gaborseg.machine import load_yaml, read_text
from gaborseg.runs import folder_name, sweep_folder

_PACKAGE = Path(__file__).parents[1]
_CHECKOUT = _PACKAGE.parents[1]
CONFIGURATIONS = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _CHECKOUT / "conf"
"""The folder of all options: inside an installed package, at the top of a checkout."""
_PLUGINS = _PACKAGE / "plugins"
_MAY_NAME_OWN_MODULES = re.compile(r"(--config-dir|-cd)\b|[^=]*\b(trust|sweeps|_target_)=")
"""How an argument begins that may bring modules of the user's own."""


_UNKNOWN = re.compile(r"\bNone\b")
"""What a reference gives for a number that only the data tell."""


def find_plugins() -> None:
    """Let Hydra find our launcher and ``sweeps/``, in this process and in those that it starts.

    Hydra wants its plugins in a package called ``hydra_plugins``. It is not installed as one, or
    it would be part of every Hydra program of the same environment.
    """
    _search_last(str(_PLUGINS))


def _search_last(place: str) -> None:
    """Append a folder to where modules are looked for, here and in processes started from here."""
    if place not in sys.path:
        sys.path.append(place)
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if place not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([*paths, place])


def find_own_modules(arguments: Sequence[str]) -> None:
    """Let modules in the working directory be imported, if arguments bring the user's own.

    ``python -m`` does so always, the console program never by itself. The directory comes last, so
    that nothing in it takes the place of an installed package; also in the processes of a sweep,
    on this machine or on a cluster's.
    """
    if any(map(_MAY_NAME_OWN_MODULES.match, arguments)):
        _search_last(str(Path.cwd()))


def compose_config(
    overrides: Sequence[str] = (), name: str = "config", *, hydra: bool = False
) -> DictConfig:
    """Return what a command composes of overrides.

    Args:
        overrides: As on the command line.
        name: Of the command's YAML file in ``conf/``; ``config`` is that of ``train``.
        hydra: Keep Hydra's own part.
    """
    with hydra_started():
        return compose(name, spelt_out(overrides, name), return_hydra_config=hydra)


def hydra_started() -> AbstractContextManager[object]:
    """Return a context in which Hydra composes from ``conf/`` and knows our plugins."""
    find_plugins()
    register_resolvers()
    return initialize_config_dir(str(CONFIGURATIONS), version_base="1.3")


def plain(config: DictConfig) -> SimpleNamespace:
    """Return the settings of a command, resolved, as plain values.

    Raises:
        MissingMandatoryValue: One that must be given is not.
    """
    settings = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    return SimpleNamespace(**cast(dict[str, Any], settings))


def as_list(value: Any) -> list[str]:
    """Return a setting that may be one value, several or none as a list of texts.

    Example:
        >>> as_list("T1w"), as_list(["T1w", "FLAIR"]), as_list(None)
        (['T1w'], ['T1w', 'FLAIR'], [])
    """
    values = value if isinstance(value, list | tuple) else [] if value is None else [value]
    return [str(one) for one in values]


def register_resolvers() -> None:
    """Let configurations use functions of ours: ``${folder_name:...}``, ``${powers:-3.5,-3}``."""
    resolvers: dict[str, Callable[..., str]] = {
        "folder_name": lambda choices: folder_name(_texts(choices)),
        "sweep_folder": lambda choices, of_hydra: sweep_folder(_texts(choices), of_hydra),
        "powers": _powers,
    }
    for name, function in resolvers.items():
        OmegaConf.register_new_resolver(name, function, replace=True)


def _texts(choices: ListConfig) -> list[str]:
    """Return choices with the values of what they refer to, as far as these are known yet."""
    written = cast(list[str], OmegaConf.to_container(choices))
    values = ["${" in text and str(choices[n]) for n, text in enumerate(written)]
    return [v if v and not _UNKNOWN.search(v) else w for v, w in zip(values, written, strict=True)]


def _powers(*exponents: float) -> str:
    """Return powers of ten as the values of a sweep.

    Example:
        >>> _powers(-3.5, -3)
        '0.00031622776601683794,0.001'
    """
    return ",".join(repr(10.0**exponent) for exponent in exponents)


def overrides_first(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of a command with its overrides in one piece, as Hydra wants them.

    Example:
        >>> overrides_first(["kernel=gabor", "-m", "loss=pcc,dice"])
        ['kernel=gabor', 'loss=pcc,dice', '-m']
    """
    known, apart = get_args_parser().parse_known_args(arguments)
    if not apart or any(word.startswith("-") for word in apart):
        return [*arguments]  # or Hydra says what it does not know
    overrides = [*known.overrides, *apart]
    return [*overrides, *(word for word in arguments if word not in overrides)]


def spelt_out(arguments: Sequence[str], name: str | None) -> list[str]:
    """Return arguments in which ``weights=PATH`` sets ``weights.path``.

    Hydra would put the path in the place of all of ``weights``, or the other settings in the place
    of the path, whichever comes last, and say nothing.

    Args:
        arguments: Those of a command.
        name: Of the command's YAML file in ``conf/``; only ``config``, of ``train``, has weights.

    Example:
        >>> spelt_out(["weights=outputs/runs/default", "weights.rate=0.1"], "config")
        ['weights.path=outputs/runs/default', 'weights.rate=0.1']
    """
    if name != "config":
        return [*arguments]
    return [re.sub("^weights=", "weights.path=", argument) for argument in arguments]


def unreadable_settings(arguments: Sequence[str], error: Exception) -> str | None:
    """Return which of the user's own YAML files has raised an error, and why; None if none has.

    Args:
        arguments: A command's, with ``--config-dir``.
        error: What Hydra let through.
    """
    if isinstance(error, yaml.YAMLError):  # it names the file
        return f"settings cannot be read: {' '.join(str(error).split())}"
    folder = get_args_parser().parse_known_args(arguments)[0].config_dir
    for path in sorted(Path(folder).rglob("*.yaml")) if folder else ():
        try:
            path.read_text(encoding="utf-8")
            load_yaml(read_text(path))
        except (OSError, ValueError) as reason:
            return f"{path} cannot be read: {reason}"
    return None


def quote_values(arguments: Sequence[str], keys: Sequence[str]) -> list[str]:
    """Return arguments in which Hydra takes the values of some keys, such as paths, as they are.

    So are the items of a list in brackets. What holds quotes itself stays as it is.

    Example:
        >>> quote_values(["input=runs/kernel=gabor,loss=pcc", "threads=2"], ["input"])
        ["input='runs/kernel=gabor,loss=pcc'", 'threads=2']
        >>> quote_values(["input=[split=0,split=1]"], ["input"])
        ["input=['split=0','split=1']"]
    """
    return [_with_quotes(argument, keys) for argument in arguments]


def _with_quotes(argument: str, keys: Sequence[str]) -> str:
    key, _, value = argument.partition("=")
    if value.startswith("~/") and key == "hydra.run.dir":
        return f"{key}={_quoted(os.path.expanduser(value))}"
    if key not in keys or value in ("", "???", "null") or value[0] in "'\"":
        return argument
    if value[0] == "[" and value[-1] == "]":
        items = [item.strip() for item in value[1:-1].split(",") if item.strip()]
        return (
            argument if "'" in value or '"' in value else f"{key}=[{','.join(map(_quoted, items))}]"
        )
    return f"{key}={_quoted(value)}"


def _quoted(value: str) -> str:
    return QuotedString(value, Quote.single).with_quotes()
