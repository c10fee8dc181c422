"""Write a trained model as ONNX or as a torch program, for use without this framework.

    python -m src.export checkpoint=outputs/runs/default format=onnx

Gabor kernels become plain convolutions; the decision is part of the graph; structures,
preprocessing and licence are in its metadata. ``src.predict`` takes the file as a checkpoint.
"""

import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import hydra
import torch
from omegaconf import DictConfig
from torch import Tensor

from src.command import errors_in_log, mistakes_as_user_errors, quote_values, run_command
from src.inference import (
    Deployed,
    difference,
    exported_program,
    metadata_of,
    read_exported,
    require_onnx,
    smooth_noise,
    whole_file,
    write_onnx,
    write_torch_export,
)
from src.runs import software_versions
from src.trained import TrainedModel, load_trained

log = logging.getLogger(__name__)

FORMATS = {"onnx": (".onnx", write_onnx), "torch_export": (".pt2", write_torch_export)}
MOST_LOGITS, LEAST_LABELS = 1e-4, 0.9999
"""How far logits may be apart, and the share of voxels whose labels must agree."""


class DifferenceError(Exception):
    """An exported file does not compute what its checkpoint does."""


@hydra.main(version_base="1.3", config_path="../conf", config_name="export")
def main(config: DictConfig) -> None:
    """Export as configured; exit with 1 if the file does not compute what the checkpoint does."""
    with errors_in_log():
        agrees = export(config)
    if not agrees:
        sys.exit(1)


def export(config: DictConfig) -> bool:
    """Export as configured; return whether the file agrees with the checkpoint, and stays.

    Raises:
        UserError: The checkpoint or a setting cannot be used, or a file is in the way.
    """
    started = time.perf_counter()
    with mistakes_as_user_errors():
        if config.format not in FORMATS:
            raise ValueError(f"format must be {' or '.join(FORMATS)}, got {config.format}")
        if config.format == "onnx":
            require_onnx()
        trained = load_trained(Path(config.checkpoint).expanduser())
        size = size_of(config.size, trained)
        ending, write = FORMATS[config.format]
        path = Path(config.output or trained.checkpoint.with_suffix(ending)).expanduser()
        if path.suffix != ending:
            raise ValueError(f"output must end in {ending}, got {path}")
        if path.exists() and not config.overwrite:
            raise FileExistsError(f"output {path} exists: name another, or overwrite=true")
    metadata = metadata_of(trained.data, trained.decision, size, software_versions())
    shape = (1, len(trained.channels), *size)
    program = exported_program(Deployed(trained.network, trained.decision), shape)
    try:
        with whole_file(path) as unproved:
            write(unproved, program, metadata)
            if config.verify and not verify(trained, unproved, shape):
                raise DifferenceError
    except DifferenceError:
        log.error(f"{path} was not written")
        return False
    megabytes = path.stat().st_size / 1e6
    log.info(f"Written to {path} ({megabytes:.0f} MB, {time.perf_counter() - started:.0f} s)")
    return True


def size_of(told: int | None, trained: TrainedModel) -> tuple[int, ...]:
    """The size of the volumes that the file will take; along a shorter axis, the axis.

    Raises:
        ValueError: It is not positive, or more than the prepared volumes have.
    """
    longest = max(trained.size)
    if told is not None and not 1 <= told <= longest:
        raise ValueError(f"size must be 1..{longest}, as large as in training, got {told}")
    side = told or trained.data.get("patch_size") or longest
    return tuple(min(side, length) for length in trained.size)


def verify(trained: TrainedModel, path: Path, shape: Sequence[int]) -> bool:
    """Show how the file and its checkpoint differ on an image; return whether they agree."""
    _, outputs = read_exported(path, torch.device("cpu"))

    def original(image: Tensor, names: Sequence[str]) -> Sequence[Tensor]:
        logits = trained.network(image)
        return logits, trained.decision(logits)

    found = difference(original, outputs, smooth_noise(shape))
    agrees = found.logits <= MOST_LOGITS and found.labels >= LEAST_LABELS
    log.info(
        f"Against the checkpoint: logits differ by at most {found.logits:.1e} "
        f"(allowed {MOST_LOGITS:.0e}), {100 * found.labels:.4f} % of the labels agree "
        f"(at least {100 * LEAST_LABELS:.2f} %): {'ok' if agrees else 'NOT the same'}"
    )
    return agrees


if __name__ == "__main__":
    sys.argv[1:] = quote_values(sys.argv[1:], ("checkpoint", "output"))
    run_command(main)
