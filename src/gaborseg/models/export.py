"""The work of `export`: a trained model as one file, checked against its checkpoint."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor

from gaborseg.interface import UserError, mistakes_as_user_errors
from gaborseg.machine import software_versions, whole_file
from gaborseg.models.deployed import Deployed, metadata_of
from gaborseg.models.exported import read_onnx
from gaborseg.models.exporting import (
    exported_program,
    read_torch_export,
    require_onnx,
    write_onnx,
    write_torch_export,
)
from gaborseg.models.loading import TrainedModel, load_trained
from gaborseg.models.verification import difference, smooth_noise

log = logging.getLogger(__name__)


_FORMATS = {"onnx": (".onnx", write_onnx), "torch_export": (".pt2", write_torch_export)}


_MOST_LOGITS, _LEAST_LABELS = 1e-4, 0.9999
"""How far logits may be apart, and the share of voxels whose labels must agree."""


class _DifferenceError(Exception):
    """An exported file does not compute what its checkpoint does."""


def export_model(settings: SimpleNamespace) -> bool:
    """Export as configured; return whether the file agrees with the checkpoint, and stays.

    Raises:
        UserError: The checkpoint or a setting cannot be used, or a file is in the way.
    """
    started = time.perf_counter()
    with mistakes_as_user_errors():
        if settings.format not in _FORMATS:
            raise ValueError(f"format must be {' or '.join(_FORMATS)}, got {settings.format}")
        if settings.format == "onnx":
            require_onnx()
        trained = load_trained(Path(settings.checkpoint).expanduser(), trust=settings.trust)
        size = size_of(settings.size, trained)
        ending, write = _FORMATS[settings.format]
        path = Path(settings.output or trained.checkpoint.with_suffix(ending)).expanduser()
        if path.suffix != ending:
            raise ValueError(f"output must end in {ending}, got {path}")
        if path.exists() and not settings.overwrite:
            raise FileExistsError(f"output {path} exists: name another, or overwrite=true")
    metadata = metadata_of(trained.data, trained.decision, size, software_versions())
    shape = (1, len(trained.channels), *size)
    program = exported_program(Deployed(trained.network, trained.decision), shape)
    try:
        with whole_file(path, replace=settings.overwrite) as unproved:
            write(unproved, program, metadata)
            if settings.verify and not verify(trained, unproved, shape):
                raise _DifferenceError
    except _DifferenceError:
        log.error(f"{path} was not written")
        return False
    except FileExistsError as error:
        raise UserError(f"output {error}: name another, or overwrite=true") from error
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
    is_onnx = path.suffix == ".onnx"
    outputs = read_onnx(path, torch.device("cpu"))[1] if is_onnx else read_torch_export(path)

    def original(image: Tensor, names: Sequence[str]) -> Sequence[Tensor]:
        logits = trained.network(image)
        return logits, trained.decision(logits)

    found = difference(original, outputs, smooth_noise(shape))
    agrees = found.logits <= _MOST_LOGITS and found.labels >= _LEAST_LABELS
    log.info(
        f"Against the checkpoint: logits differ by at most {found.logits:.1e} "
        f"(allowed {_MOST_LOGITS:.0e}), {100 * found.labels:.4f} % of the labels agree "
        f"(at least {100 * _LEAST_LABELS:.2f} %): {'ok' if agrees else 'NOT the same'}"
    )
    return agrees
