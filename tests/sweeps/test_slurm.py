import subprocess
import sys
from pathlib import Path

import pytest
import submitit
from hydra.utils import instantiate
from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf
from omegaconf import OmegaConf

from config import PROJECT, compose_config
from tiny_cohort import write_cohort


@pytest.fixture(params=[[]])
def batch_script(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest
) -> str:
    """What sbatch would get for a run of the paper's grid, with some more settings."""
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")  # as if SLURM were here
    grid = ["+sweeps=paper_grid", "hydra/launcher=slurm", "hydra.launcher.partition=gpu"]
    config = compose_config([*grid, *request.param], hydra=True)
    parameters = instantiate(config.hydra.launcher).params
    retries, _ = parameters.pop("max_num_timeout"), parameters.pop("submitit_folder")
    executor = submitit.AutoExecutor(tmp_path, cluster="slurm", slurm_max_num_timeout=retries)
    general = set(OmegaConf.structured(BaseQueueConf))
    executor.update_parameters(
        **{name if name in general else f"slurm_{name}": v for name, v in parameters.items()}
    )
    return executor._executor._make_submission_file_text("command", "id")


def test_a_run_on_two_gpus_is_a_job_of_two_tasks_with_a_gpu_each(batch_script: str) -> None:
    asked = {line.split()[1] for line in batch_script.splitlines() if line.startswith("#SBATCH")}
    assert {"--ntasks-per-node=2", "--gpus-per-node=2", "--nodes=1"} <= asked
    assert {"--time=240", "--partition=gpu", "--job-name=gaborseg"} <= asked


@pytest.mark.parametrize(
    "batch_script", [["trainer.devices=8", "trainer.num_nodes=2"]], indirect=True
)
def test_a_run_over_two_nodes_is_a_job_of_two_nodes(batch_script: str) -> None:
    assert "#SBATCH --nodes=2" in batch_script
    assert "#SBATCH --ntasks-per-node=8" in batch_script


@pytest.mark.slow
def test_the_local_executor_of_submitit_runs_a_sweep(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path / "cohort")
    data = ["data=folder", f"data.root={cohort}", f"data.cache={tmp_path}/cache"]
    choices = ["experiment=smoke", "kernel=conventional", "logger=csv", "trainer=cpu", *data]
    places = ["hydra/launcher=submitit_local", f"hydra.sweep.dir={tmp_path}/sweep"]
    command = [sys.executable, "-m", "src.train", "-m", *choices, *places, "loss=pcc,dice"]
    subprocess.run([*command, "hydra.sweep.subdir=${hydra.job.num}"], cwd=PROJECT, check=True)
    assert len([*(tmp_path / "sweep").glob("*/done.json")]) == 2
