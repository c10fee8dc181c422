"""What the launcher hands to a sweeper that looks for the best run, and what it refuses."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig


class Returned(JobReturn):
    """A run with its objective."""

    def __init__(self, overrides: Sequence[str], folder: Path, value: float) -> None:
        super().__init__(overrides=overrides, working_dir=str(folder))
        self.status = JobStatus.COMPLETED
        self.return_value = value


class Failed(JobReturn):
    """A run that failed; whoever asks for its value gets the error of the sweep."""

    def __init__(self, overrides: Sequence[str], folder: Path, failure: str) -> None:
        super().__init__(overrides=overrides, working_dir=str(folder))
        self.status = JobStatus.FAILED
        self.failure = failure

    @property  # type: ignore[misc]  # Hydra's own has a setter, which nobody calls
    def return_value(self) -> Any:
        """Return nothing.

        Raises:
            SweepFailed: Always.
        """
        from gaborseg.sweeps import SweepFailed

        raise SweepFailed(self.failure)


def refuse_storage(sweeper: DictConfig) -> None:
    """Refuse a search that is to remember its runs elsewhere than in their folders.

    Raises:
        UserError: If it has a storage.
    """
    from gaborseg.interface import UserError

    if storage := sweeper.get("storage"):
        raise UserError(
            f"hydra.sweeper.storage must be null, got {storage}: the runs are what a search "
            "remembers; repeat the command to go on with it"
        )
