"""Train and test one run, or a sweep of runs, from the data to the run folder.

    python -m src.train experiment=smoke              # everything once, in seconds
    python -m src.train kernel=gabor loss=dice split=1
    python -m src.train -m kernel=gabor,mixed optimizer.lr=1e-3,1e-2

If you repeat a command, it resumes the run after its last complete epoch, or shows the result.
"""

import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from gaborseg.interface import (
    CONFIGURATIONS,
    UserError,
    check_paths,
    effective_settings,
    errors_in_log,
    mistakes_as_user_errors,
    own_mode,
    refuse_idle_kernel,
    refuse_missing_parts,
    refuse_unread,
    run_command,
)
from gaborseg.machine import large_imports
from gaborseg.runs import check_searchable

_PATHS = ("data.root", "data.cache", "data.split_file", "data.source.cache", "weights.path")
_TRACKED = ("logger.wandb.project", "logger.wandb.entity")


@hydra.main(version_base="1.3", config_path=str(CONFIGURATIONS), config_name="config")
def main(config: DictConfig) -> float | None:
    """Train and test as configured; return the objective, a score of the validation."""
    hydra_config = HydraConfig.get()
    runtime = hydra_config.runtime
    choices = {k: v for k, v in runtime.choices.items() if not k.startswith("hydra/")}
    with errors_in_log():
        refuse_missing_parts(config)
        refuse_idle_kernel(config, choices, hydra_config.overrides.task)
        refuse_unread(config, choices, hydra_config.overrides.task)
        in_sweep = hydra_config.mode == RunMode.MULTIRUN
        in_one_process = in_sweep and runtime.choices["hydra/launcher"] == "basic"
        if in_one_process and config.trainer.devices not in (1, "1"):
            raise UserError(
                "hydra/launcher=basic must be used with trainer.devices=1; "
                f"for {config.trainer.devices} processes a run leave it out"
            )
        direction = hydra_config.sweeper.get("direction")
        if in_sweep and direction is not None:
            with mistakes_as_user_errors():
                mode = own_mode(config, config.objective)
                check_searchable(effective_settings(config), direction, mode)
        check_paths("data.root", config.data.get("root"))
        with large_imports():
            from gaborseg.experiment import train

        return train(config, Path(runtime.output_dir), choices)


def run() -> None:
    """Run the command with this process's arguments."""
    in_sweep = {"-m", "--multirun"} & set(sys.argv)  # where commas separate values
    run_command(main, settings="config", paths=() if in_sweep else (*_PATHS, *_TRACKED))


if __name__ == "__main__":
    run()
