"""Which settings of a run decide its result, and whether two runs share them."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from gaborseg.machine import encodable
from gaborseg.runs.renames import as_saved_now

# Settings that change where or how fast a run works, never its result ...
WORKING = (
    "logger",
    "data.num_workers",
    "data.cache",
    "data.source.cache",
    "network.checkpointing",
    "callbacks.progress",
    "objective",
    "pause_after",
)
# ... and groups that others refer to: what of them has an effect is told there again.
TECHNICAL = (*WORKING, "rates", "activation")
_SINCE: dict[str, Any] = {"monitor": "val/dice", "monitor_mode": None, "metrics": {}}
"""Settings that came later, with the values that say what runs did before."""


def differences(old: Any, new: Any, key: str = "") -> list[str]:
    """Return one ``key: old -> new`` for every result-deciding value that differs."""
    if key not in TECHNICAL and isinstance(old, dict) and isinstance(new, dict):
        keys = {name: f"{key}.{name}".lstrip(".") for name in [*old, *new]}
        return [
            line
            for name, whole in keys.items()
            for before in [_SINCE.get(whole)]
            for line in differences(old.get(name, before), new.get(name, before), whole)
        ]
    return [] if old == new or key in TECHNICAL else [f"{key}: {old} -> {new}"]


def check_texts(config: Any, key: str = "") -> None:
    """Check that a file of settings can hold all texts of a configuration.

    Raises:
        ValueError: One has bytes that are no UTF-8; it names the key and the remedy.
    """
    if isinstance(config, dict):
        for name, value in config.items():
            check_texts(value, f"{key}.{name}".lstrip("."))
    elif isinstance(config, list):
        for value in config:
            check_texts(value, key)
    elif isinstance(config, str) and encodable(config) != config:
        raise ValueError(
            f"{key} must be UTF-8, got {encodable(config)}: rename the file or folder, or name a "
            "link to it"
        )


def settings_digest(config: Mapping[str, Any]) -> str:
    """Return sixteen hexadecimal digits of the settings that count, in today's names."""
    settings = without_technical(as_saved_now({**config}))
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def without_technical(config: Any, key: str = "") -> Any:
    """Return a configuration without the settings that never decide a result.

    So are those that came later, where they say what runs did before.
    """
    if not isinstance(config, dict):
        return config
    keys = {name: f"{key}.{name}".lstrip(".") for name in config}
    return {
        str(name): without_technical(value, keys[name])
        for name, value in config.items()
        if keys[name] not in TECHNICAL and _SINCE.get(keys[name], ...) != value
    }
