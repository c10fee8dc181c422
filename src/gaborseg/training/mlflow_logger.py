"""MLflow tracking, by default in a database file beside the run folders."""

import importlib.util
import os
from argparse import Namespace
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import MLFlowLogger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from gaborseg.runs import Run

_FILE = "sqlite:///"
_STORE = f"{_FILE}outputs/mlflow.db"
_TAG = "gaborseg.run"


def mlflow_logger(run: Run, *, experiment: str, tracking_uri: str | None) -> MLFlowLogger:
    """Return a logger of the MLflow run that belongs to a run, also if it is resumed.

    Args:
        run: What is tracked; its identity is a tag of the MLflow run.
        experiment: Name of the MLflow experiment.
        tracking_uri: Where MLflow keeps its runs; None: what ``MLFLOW_TRACKING_URI`` says, else
            the database ``outputs/mlflow.db``.

    Raises:
        ImportError: If MLflow is not installed.
        ValueError: If the store cannot be used.
    """
    if importlib.util.find_spec("mlflow") is None:
        raise ImportError("logger=mlflow needs mlflow: pip install -e '.[mlflow]' in a clone")
    uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or _STORE
    return _ResumableLogger(
        experiment_name=experiment,
        run_name=run.name,
        tracking_uri=uri,
        tags={_TAG: run.identity, "group": run.group},
        run_id=_run_before(uri, experiment, run.identity),
    )


class _ResumableLogger(MLFlowLogger):
    """Lightning's logger, for which a session that goes on may have other technical settings.

    MLflow refuses to change a parameter: a run keeps those that it began with. What an earlier
    session has ended as finished or failed is running again.
    """

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace) -> None:
        """Hand over the settings of a run, unless an earlier session has."""
        if self.experiment.get_run(self.run_id).data.params:
            self.experiment.update_run(self.run_id, status="RUNNING")
        else:
            super().log_hyperparams(params)


@rank_zero_only
def _run_before(uri: str, experiment: str, identity: str) -> str | None:
    """Return the id of the MLflow run of earlier sessions, None if there is none.

    Raises:
        ValueError: If the store cannot be used.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    if uri.startswith(_FILE):
        Path(uri.removeprefix(_FILE)).parent.mkdir(parents=True, exist_ok=True)
    try:
        client: Any = MlflowClient(uri)
        found = client.get_experiment_by_name(experiment)
        wanted = f"tags.`{_TAG}` = '{identity}'"
        runs = [] if found is None else client.search_runs([found.experiment_id], wanted)
    except MlflowException as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"logger.mlflow.tracking_uri={uri} cannot be used: {reason}") from error
    return str(runs[0].info.run_id) if runs else None
