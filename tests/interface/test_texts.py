"""Settings that are text, whatever they look like."""

import importlib
import sys
from collections.abc import Sequence

import pytest
from omegaconf import OmegaConf

from config import compose_config
from gaborseg.interface import quote_values


@pytest.mark.parametrize("value", ["2024_01", "[0000,0001]"])
@pytest.mark.parametrize(
    ("command", "key"),
    [
        *(("dashboard", key) for key in ("project", "entity", "name", "structures")),
        *(("report", key) for key in ("subject", "ignore", "project", "entity", "title")),
        *(("prepare", key) for key in ("channels", "label", "name")),
        *(("train", f"logger.wandb.{key}") for key in ("project", "entity")),
    ],
)
def test_text_is_taken_as_it_is_typed(
    command: str, key: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Sequence[str]] = []
    module = importlib.import_module(f"gaborseg.commands.{command}")
    monkeypatch.setattr(sys, "argv", [command])  # without pytest's own -m, that of a sweep
    monkeypatch.setattr(module, "run_command", lambda main, settings, paths: taken.append(paths))
    module.run()
    (override,) = quote_values([f"{key}={value}"], taken[0])
    found = OmegaConf.select(
        compose_config([override], "config" if command == "train" else command), key
    )
    assert found == (["0000", "0001"] if value[0] == "[" else value)
