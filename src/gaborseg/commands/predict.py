"""Segment scans, each in its own space.

    python -m src.predict checkpoint=outputs/runs/default input=scan.nii.gz output=segmented
    python -m src.predict checkpoint='outputs/runs/split=*' input=scans output=averaged
    python -m src.predict checkpoint=model.onnx input=scans output=by_onnx device=cpu viewer=true

A scan may have any orientation, spacing and size; its label map lies on the same grid. The file
``volumes.csv`` lists the volumes of all scans, with a confidence and warnings for each.
``pattern=`` finds the scans of a folder as ``prepare`` does.
"""

import sys

import hydra
from omegaconf import DictConfig

from gaborseg.interface import CONFIGURATIONS, check_paths, errors_in_log, plain, run_command
from gaborseg.machine import large_imports


@hydra.main(version_base="1.3", config_path=str(CONFIGURATIONS), config_name="predict")
def main(config: DictConfig) -> None:
    """Segment as configured; exit with 1 if a scan could not be segmented."""
    with errors_in_log():
        settings = plain(config)
        check_paths("checkpoint", settings.checkpoint)
        check_paths("input", settings.input)
        with large_imports():
            from gaborseg.inference import predict

        try:
            problems = predict(settings)
        except KeyboardInterrupt:
            sys.exit("interrupted: the same command goes on with the scans that are missing")
    if problems:
        sys.exit(1)


def run() -> None:
    """Run the command with this process's arguments."""
    run_command(main, settings="predict", paths=("checkpoint", "input", "output", "pattern"))


if __name__ == "__main__":
    run()
