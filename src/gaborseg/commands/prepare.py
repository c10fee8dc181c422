"""Turn scans of any size, spacing and orientation into a data set to train on.

    python -m src.prepare input=scans output=prepared labels=freesurfer
    python -m src.prepare preset=malc2012 input=downloaded output=prepared
    python -m src.prepare input=scans output=T1 channels=[T1w] size=64 name='T1 alone'

The command checks every file before it writes anything, and shows all problems in one table.
"""

import sys

import hydra
from omegaconf import DictConfig

from gaborseg.interface import (
    CONFIGURATIONS,
    check_paths,
    errors_in_log,
    mistakes_as_user_errors,
    plain,
    run_command,
)
from gaborseg.machine import large_imports


@hydra.main(version_base="1.3", config_path=str(CONFIGURATIONS), config_name="prepare")
def main(config: DictConfig) -> None:
    """Prepare as configured."""
    with errors_in_log(), mistakes_as_user_errors():
        settings = plain(config)
        check_paths("input", settings.input)
        check_paths("participants", settings.participants)
        with large_imports():
            from gaborseg.preparation import prepare_scans

        try:
            prepare_scans(settings)
        except KeyboardInterrupt:
            sys.exit("interrupted: the same command goes on with the scans that are not written")


def run() -> None:
    """Run the command with this process's arguments."""
    run_command(
        main,
        settings="prepare",
        paths=(
            *("input", "output", "labels", "problems", "name", "credit", "licence", "home_page"),
            "participants",
            *("pattern", "label_pattern", "structures", "volumes", "masks", "channels", "label"),
        ),
    )


if __name__ == "__main__":
    run()
