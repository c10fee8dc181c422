"""Draw Fig. 1 of the paper, recomputed from its equations.

    python -m src.figures
    python -m src.figures output=figures
    python -m src.figures output=two_objects object_sides=[5,50] steps=51

The figures are ``sinusoids`` (Fig. 1a: the waves that eq. (2) multiplies with the Gaussian) and
``losses`` (Fig. 1b: PCC and Dice loss from random to perfect scores), each as SVG, PNG and csv.
"""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from gaborseg.interface import CONFIGURATIONS, errors_in_log, mistakes_as_user_errors, run_command
from gaborseg.machine import large_imports


@hydra.main(version_base="1.3", config_path=str(CONFIGURATIONS), config_name="figures")
def main(config: DictConfig) -> None:
    """Compute and draw the two parts of the figure, and write them to a folder."""
    with errors_in_log(), mistakes_as_user_errors():
        with large_imports():
            from gaborseg.reporting import write_paper_figures

        sides = [*config.object_sides]
        write_paper_figures(Path(config.output), sides, config.steps, config.seed)


def run() -> None:
    """Run the command with this process's arguments."""
    run_command(main, settings="figures", paths=("output",))


if __name__ == "__main__":
    run()
