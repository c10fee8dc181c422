"""Lets ``conf/hydra/sweeper/optuna.yaml`` stand for ``hydra/sweeper=optuna``.

hydra-optuna-sweeper registers an option of that name, which minimises and draws without a seed.
Hydra loads installed plugins before this one.
"""

import logging

from hydra.core.config_store import ConfigStore

ConfigStore.instance().repo.get("hydra", {}).get("sweeper", {}).pop("optuna.yaml", None)
logging.getLogger("alembic").setLevel(logging.WARNING)  # Optuna's; it lists its parts
