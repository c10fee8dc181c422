"""Lets Hydra find files of ``sweeps/`` as its group ``sweeps``.

In a checkout the folder lies beside ``conf/``; in an installed package it is a part of it. A folder
``sweeps`` where the command is started counts as well.
"""

from pathlib import Path

import yaml
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigResult
from hydra.plugins.search_path_plugin import SearchPathPlugin

from gaborseg.machine import load_yaml, read_text

_CHECKOUT = Path(__file__).parents[4]
_GROUP = "sweeps"


class _SweepsSource(FileConfigSource):
    """A folder of whose folders only ``sweeps/`` counts."""

    @staticmethod
    def scheme() -> str:
        """Return what the source's paths begin with."""
        return "gaborseg-sweeps"

    def load_config(self, config_path: str) -> ConfigResult:
        """Return what a file holds, which may have come with somebody's data.

        Raises:
            HydraException: It cannot be read, or would take too much.
        """
        path = Path(self.path, self._normalize_file_name(config_path))
        try:
            load_yaml(read_text(path))
            return super().load_config(config_path)
        except (ValueError, yaml.YAMLError) as error:
            reason = " ".join(str(error).split())
            raise HydraException(f"{path} cannot be read: {reason}") from error

    def is_group(self, config_path: str) -> bool:
        """Return whether a path is the root or the group."""
        return config_path in ("", _GROUP)

    def is_config(self, config_path: str) -> bool:
        """Return whether a path is a file of the group."""
        return config_path.startswith(f"{_GROUP}/") and super().is_config(config_path)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Return the group, or its files."""
        return super().list(config_path, results_filter) if self.is_group(config_path) else []


class _SweepsFolder(SearchPathPlugin):
    """Puts the folders on the search path of every configuration."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append those that exist, the working directory's first."""
        for place in dict.fromkeys((Path.cwd(), _CHECKOUT)):
            if (place / _GROUP).is_dir():
                search_path.append("gaborseg", f"{_SweepsSource.scheme()}://{place}")
