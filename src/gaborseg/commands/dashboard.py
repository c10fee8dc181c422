"""Build a W&B workspace that compares the runs of a project.

    python -m src.dashboard project=gaborseg
    python -m src.dashboard project=abdomen structures=[liver,spleen] name='Liver and spleen'
    python -m src.dashboard output=workspace.json

Its sections show curves by loss, robustness to the learning rate, structures, parameters and cost,
and the figures and tables that ``python -m src.report wandb=auto`` has logged.
"""

import hydra
from omegaconf import DictConfig

from gaborseg.interface import (
    CONFIGURATIONS,
    errors_in_log,
    mistakes_as_user_errors,
    plain,
    run_command,
)
from gaborseg.machine import large_imports


@hydra.main(version_base="1.3", config_path=str(CONFIGURATIONS), config_name="dashboard")
def main(config: DictConfig) -> None:
    """Build the workspace, and save it on W&B or write it to a file."""
    with errors_in_log(), mistakes_as_user_errors():
        settings = plain(config)
        with large_imports():
            from gaborseg.reporting import save_workspace

        save_workspace(settings)


def run() -> None:
    """Run the command with this process's arguments."""
    run_command(
        main, settings="dashboard", paths=("output", "project", "entity", "name", "structures")
    )


if __name__ == "__main__":
    run()
