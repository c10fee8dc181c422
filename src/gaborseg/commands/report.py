"""Turn run folders into tables, statistics, figures and one page.

    python -m src.report runs=outputs/runs output=outputs/report
    python -m src.report runs=outputs/sweeps/smoke output=outputs/reports/smoke rate=best
    python -m src.report runs=[outputs/runs,outputs/sweeps] output=outputs/reports/all viewer=none

This works on one run, on a half-finished sweep (the page lists the missing runs), and on hundreds
of runs. The same runs give the same files, byte for byte.
"""

import hydra
from omegaconf import DictConfig

from gaborseg.interface import CONFIGURATIONS, check_paths, errors_in_log, plain, run_command
from gaborseg.machine import large_imports

_TEXTS = ("runs", "output", "title", "subject", "ignore", "project", "entity")


@hydra.main(version_base="1.3", config_path=str(CONFIGURATIONS), config_name="report")
def main(config: DictConfig) -> None:
    """Write the report."""
    with errors_in_log():
        settings = plain(config)
        check_paths("runs", settings.runs)
        with large_imports():
            from gaborseg.reporting import make_report

        make_report(settings)


def run() -> None:
    """Run the command with this process's arguments."""
    run_command(main, settings="report", paths=_TEXTS)


if __name__ == "__main__":
    run()
