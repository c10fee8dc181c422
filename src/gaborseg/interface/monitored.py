"""What chooses the best epoch of a run, as its configuration says."""

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig

from gaborseg.interface.building import target_of
from gaborseg.runs import Monitor, choose_monitor

_MODES: dict[object, str] = {True: "max", False: "min"}


def monitor_of(config: DictConfig, structures: Sequence[str] | None = None) -> Monitor:
    """Return what chooses the best epoch of a run.

    Args:
        config: Its configuration.
        structures: Those of its data, once they are known.

    Raises:
        ValueError: Nothing logs it, or it is not known which of its values is better.
    """
    modes: dict[str, str | None] = dict.fromkeys(map(str, config.metrics))
    if (name := str(config.monitor).removeprefix("val/")) in modes:
        modes[name] = own_mode(config, config.monitor)
    return choose_monitor(config.monitor, config.monitor_mode, modes, structures)


def own_mode(config: Mapping[str, Any], name: object) -> str | None:
    """Return which values of a metric of the user's own are better, ``"max"`` or ``"min"``.

    None if its class does not say (``higher_is_better``), or nothing of the user's own is called
    so.

    Args:
        config: The run's configuration, as composed or plain.
        name: What is logged: ``val/mine``.
    """
    node = (config["metrics"] or {}).get(str(name).removeprefix("val/"))
    if node is None or not hasattr(node, "get") or not node.get("_target_"):
        return None
    return _MODES.get(getattr(target_of(node), "higher_is_better", None))
