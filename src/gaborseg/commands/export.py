"""Write a trained model as ONNX or as a torch program, for use without gaborseg.

    python -m src.export checkpoint=outputs/runs/default output=model.onnx
    python -m src.export checkpoint=outputs/runs/default dtype=float16 output=half.onnx
    python -m src.export checkpoint=outputs/runs/default format=torch_export output=model.pt2

Gabor kernels become plain convolutions, unless ``kernels=computed`` keeps their parameters, and the
decision becomes part of the graph. The command says how large the file will be. The metadata
contain structures, preprocessing and licence. ``python -m src.predict`` accepts an ONNX file as a
checkpoint; the torch program, a ``.pt2`` file, is for use elsewhere.
"""

import sys

import hydra
from omegaconf import DictConfig

from gaborseg.interface import CONFIGURATIONS, check_paths, errors_in_log, plain, run_command
from gaborseg.machine import large_imports


@hydra.main(version_base="1.3", config_path=str(CONFIGURATIONS), config_name="export")
def main(config: DictConfig) -> None:
    """Export as configured; exit with 1 if the file does not compute what the checkpoint does."""
    with errors_in_log():
        settings = plain(config)
        check_paths("checkpoint", settings.checkpoint)
        with large_imports():
            from gaborseg.models import export_model

        agrees = export_model(settings)
    if not agrees:
        sys.exit(1)


def run() -> None:
    """Run the command with this process's arguments."""
    run_command(main, settings="export", paths=("checkpoint", "output"))


if __name__ == "__main__":
    run()
