"""Lets ``conf/hydra/sweeper/optuna.yaml`` stand for ``hydra/sweeper=optuna``.

hydra-optuna-sweeper registers an option of that name, which minimises and draws without a seed.
"""

import logging

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.plugins.search_path_plugin import SearchPathPlugin


class _OwnOptunaOption(SearchPathPlugin):
    """Removes the registered option before anything is composed, when all plugins are loaded."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Leave the search path as it is."""
        ConfigStore.instance().repo.get("hydra", {}).get("sweeper", {}).pop("optuna.yaml", None)
        logging.getLogger("alembic").setLevel(logging.WARNING)  # Optuna's; it lists its parts
