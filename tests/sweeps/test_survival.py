from pathlib import Path

import pytest
from survival import survive

from tiny_cohort import write_cohort
from tiny_run import tiny_overrides


@pytest.mark.slow
def test_a_sweep_survives_being_killed(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path / "data" / "cohort")
    sweep = ["-m", *tiny_overrides(cohort), "seed=0,1,2", "hydra.launcher.n_jobs=2"]
    survive(tmp_path / "sweeps", sweep, kills=2)
