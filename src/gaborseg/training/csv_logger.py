"""A Lightning logger that keeps one row an epoch in a csv file, on disk after every epoch."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.logger import Logger, rank_zero_experiment
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from gaborseg.runs import Run, RunFile, write_curves


class CsvLogger(Logger):
    """Writes ``metrics.csv``: one row an epoch, one column a metric, rewritten atomically.

    A resumed run keeps the rows of earlier epochs and replaces that of an epoch trained again.
    Test metrics are left out: ``subjects.csv`` holds them, subject by subject.

    Args:
        run: The run whose folder gets the file.
    """

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.path = run.path(RunFile.CURVES)
        self.rows: dict[int, dict[str, Any]] = {**run.curves()}

    @property
    def name(self) -> str:
        """Return the logger's name."""
        return "csv"

    @property
    def version(self) -> str:
        """Return an empty version: a run folder holds one run."""
        return ""

    @property
    @rank_zero_experiment
    def experiment(self) -> Path:
        """Return the file that is written."""
        return self.path

    @rank_zero_only
    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Do nothing: the run folder's ``config.yaml`` holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Merge the metrics of an epoch into its row."""
        if "epoch" not in metrics:
            return
        kept = {k: v for k, v in metrics.items() if not k.startswith("test/")}
        if set(kept) - {"epoch"}:
            self.rows.setdefault(int(metrics["epoch"]), {}).update(kept)

    @rank_zero_only
    def save(self) -> None:
        """Write all rows, ordered by epoch."""
        write_curves(self.path, self.rows)
