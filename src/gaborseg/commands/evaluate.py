"""Score segmentations: those of a finished run again, or two folders of label maps.

    python -m src.evaluate run=outputs/runs/default decision=argmax output=argmax
    python -m src.evaluate run=outputs/runs/default data=folder data.root=prepared output=elsewhere
    python -m src.evaluate predictions=segmented truth=prepared output=scores

The command writes Dice, HD95, NSD and volumes of every subject and structure to ``subjects.csv``,
in the same format as a run, and shows their means. ``labels=freesurfer`` tells which ids the truth
has, ``label_pattern=`` how its files are named; ``data=atlas data.source.size=96 network.scale=2``
scores a run of 48^3 at twice the resolution.
"""

import sys

import hydra
from omegaconf import DictConfig

from gaborseg.interface import CONFIGURATIONS, check_paths, errors_in_log, plain, run_command
from gaborseg.machine import large_imports


@hydra.main(version_base="1.3", config_path=str(CONFIGURATIONS), config_name="evaluate")
def main(config: DictConfig) -> None:
    """Score a run or label maps, show the means, and write all scores to a folder."""
    with errors_in_log():
        settings = plain(config)
        check_paths("run", settings.run)
        check_paths("predictions", settings.predictions)
        check_paths("truth", settings.truth)
        with large_imports():
            from gaborseg.evaluation import evaluate

        try:
            evaluate(settings)
        except KeyboardInterrupt:
            sys.exit("interrupted: nothing was scored")


def run() -> None:
    """Run the command with this process's arguments."""
    run_command(
        main,
        settings="evaluate",
        paths=("run", "predictions", "truth", "output", "structures", "labels", "label_pattern"),
    )


if __name__ == "__main__":
    run()
