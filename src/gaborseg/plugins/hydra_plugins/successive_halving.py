"""Hydra's sweeper for successive halving: all runs begin, the best of them go on.

Hydra loads its plugins in the order of their names, and again if they were loaded before: this one
must come after the one it imports.

    python -m src.train +sweeps=halving

References:
    Jamieson and Talwalkar, Non-stochastic best arm identification and hyperparameter optimization,
    AISTATS 2016.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra_plugins.local_launcher import LocalLauncher, LocalSweeper
from omegaconf import OmegaConf


class HalvingSweeper(LocalSweeper):
    """Trains all runs for some epochs, the best part of them for some more, and so on.

    The last ones are trained to their end and tested. A run that goes on does so from its last
    checkpoint, on the schedule of its full length: it ends as if it had never paused.

    Args:
        params: Values of settings, all combinations of which are runs.
        rungs: After how many epochs the runs are compared, ascending.
        keep: One in so many goes on, rounded up.
        direction: Whether a high (``"maximize"``) or a low (``"minimize"``) objective is good.
    """

    def __init__(
        self,
        params: dict[str, str] | None = None,
        rungs: Sequence[int] = (),
        keep: int = 3,
        direction: str = "maximize",
    ) -> None:
        super().__init__(params)
        self.rungs = [*rungs]
        self.keep = keep
        self.direction = direction

    def sweep(self, arguments: list[str]) -> Any:
        """Run the search and return the results of the runs that were trained to their end.

        Raises:
            UserError: If its settings are wrong.
            SweepFailed: If runs failed, after the others were done.
        """
        from gaborseg.interface import mistakes_as_user_errors
        from gaborseg.sweeps import SweepFailed

        with mistakes_as_user_errors():
            launcher = self._checked_launcher()
        runs, count, failed = self._all_runs(arguments), 0, 0
        results: Sequence[JobReturn] = []
        for launcher.until in (*self.rungs, None):
            results = launcher.launch(runs, initial_job_idx=count)
            count += len(runs)
            failed += sum(result.status == JobStatus.FAILED for result in results)
            if not (runs := self._survivors(results)):
                break
        if failed:
            raise SweepFailed(f"runs that failed: {failed}")
        return results

    def _checked_launcher(self) -> LocalLauncher:
        """Return the launcher, told how far runs will be trained before they are compared.

        Raises:
            ValueError: A setting cannot be used; the message names it.
        """
        if not isinstance(self.launcher, LocalLauncher):
            raise ValueError("hydra/launcher must be local with a search by halving")
        whole = all(type(rung) is int for rung in self.rungs)
        if not self.rungs or not whole or not _ascend([0, *self.rungs]):
            raise ValueError(
                f"hydra.sweeper.rungs must be whole numbers of epochs, ascending, got {self.rungs}"
            )
        if not isinstance(self.keep, int) or self.keep < 2:
            raise ValueError(f"hydra.sweeper.keep must be at least 2, got {self.keep}")
        self.launcher.last_rung = self.rungs[-1]
        return self.launcher

    def _all_runs(self, arguments: Sequence[str]) -> Sequence[Sequence[str]]:
        """Return the overrides of all runs, and leave word of the command as Hydra's sweeper does.

        Raises:
            UserError: If a link, or no regular file, is in the way.
        """
        assert self.config is not None
        assert self.hydra_context is not None
        place = self.free_place()
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        place.parent.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, place)
        return self.split_arguments(overrides, max_batch_size=None)[0]

    def _survivors(self, results: Sequence[JobReturn]) -> list[Sequence[str]]:
        """Return the overrides of the best part of the runs that did not fail, the best first."""
        runs = {str(r.working_dir): r for r in results if r.status == JobStatus.COMPLETED}
        sign = 1 if self.direction == "minimize" else -1
        ranked = sorted(runs.values(), key=lambda result: sign * result.return_value)
        return [result.overrides or () for result in ranked[: math.ceil(len(ranked) / self.keep)]]


def _ascend(numbers: Sequence[int]) -> bool:
    """Return whether each number is larger than the one before."""
    return all(low < high for low, high in pairwise(numbers))
