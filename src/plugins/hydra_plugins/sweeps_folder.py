"""Lets Hydra find ``sweeps/``, the folder beside ``conf/``, as its group ``sweeps``."""

from pathlib import Path

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.plugins.search_path_plugin import SearchPathPlugin

PROJECT = Path(__file__).parents[3]
GROUP = "sweeps"


class SweepsSource(FileConfigSource):
    """The project's root, of whose folders only ``sweeps/`` counts."""

    @staticmethod
    def scheme() -> str:
        """Return what the source's paths begin with."""
        return "gaborseg-sweeps"

    def is_group(self, config_path: str) -> bool:
        """Return whether a path is the root or the group."""
        return config_path in ("", GROUP)

    def is_config(self, config_path: str) -> bool:
        """Return whether a path is a file of the group."""
        return config_path.startswith(f"{GROUP}/") and super().is_config(config_path)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Return the group, or its files."""
        return super().list(config_path, results_filter) if self.is_group(config_path) else []


class SweepsFolder(SearchPathPlugin):
    """Puts the folder on the search path of every configuration."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append it."""
        search_path.append("gaborseg", f"{SweepsSource.scheme()}://{PROJECT}")
