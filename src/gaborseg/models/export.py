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
from gaborseg.models.deployed import Deployed, Outputs, computes_kernels, metadata_of
from gaborseg.models.exported import read_onnx, session
from gaborseg.models.exporting import (
    exported_program,
    read_torch_export,
    require_onnx,
    write_onnx,
    write_torch_export,
)
from gaborseg.models.loading import TrainedModel, load_trained
from gaborseg.models.verification import Difference, difference, smooth_noise

log = logging.getLogger(__name__)


_FORMATS = {"onnx": (".onnx", write_onnx), "torch_export": (".pt2", write_torch_export)}


_FOLDED, _COMPUTED = "folded", "computed"
_ALLOWED = {
    "float32": Difference(logits=1e-4, labels=0.9999),
    "float16": Difference(logits=2e-2, labels=0.999),
}
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
        _check_form(settings, trained)
        size = size_of(settings.size, trained)
        ending, write = _FORMATS[settings.format]
        path = Path(settings.output or trained.checkpoint.with_suffix(ending)).expanduser()
        if path.suffix != ending:
            raise ValueError(f"output must end in {ending}, got {path}")
        if path.exists() and not settings.overwrite:
            raise FileExistsError(f"output {path} exists: name another, or overwrite=true")
    metadata = metadata_of(trained.data, trained.decision, size, software_versions())
    shape = (1, len(trained.channels), *size)
    deployed = Deployed(
        trained.network,
        trained.decision,
        fold=settings.kernels == _FOLDED,
        half=settings.dtype == "float16",
    )
    log.info(told_size(deployed, trained, path))
    program = exported_program(deployed, shape)
    try:
        with whole_file(path, replace=settings.overwrite) as unproved:
            write(unproved, program, metadata)
            if settings.verify and not verify(trained, unproved, shape, settings):
                raise _DifferenceError
    except _DifferenceError:
        log.error(f"{path} was not written")
        return False
    except FileExistsError as error:
        raise UserError(f"output {error}: name another, or overwrite=true") from error
    seconds = time.perf_counter() - started
    log.info(f"Written to {path} ({_size(path.stat().st_size)}, {seconds:.0f} s)")
    return True


def _check_form(settings: SimpleNamespace, trained: TrainedModel) -> None:
    """Check the settings of how weights are kept.

    Raises:
        ValueError: There is no such form, or not of this network or in this format.
    """
    for key, known in (("kernels", (_FOLDED, _COMPUTED)), ("dtype", tuple(_ALLOWED))):
        if getattr(settings, key) not in known:
            raise ValueError(f"{key} must be {' or '.join(known)}, got {getattr(settings, key)}")
    if settings.kernels == _FOLDED:
        return
    if settings.format != "onnx":
        raise ValueError(
            f"kernels={_COMPUTED} must go with format=onnx, whose runtimes compute kernels once: "
            f"a torch program would for every scan; got format={settings.format}"
        )
    if not any(map(computes_kernels, trained.network.modules())):
        raise ValueError(
            f"kernels={_COMPUTED} must go with a network that computes its kernels, as Gabor "
            f"networks do, got one that keeps them: kernels={_FOLDED}"
        )


def told_size(deployed: Deployed, trained: TrainedModel, path: Path) -> str:
    """Return how large the file will be, and why."""
    parameters = sum(parameter.numel() for parameter in trained.network.parameters())
    is_half = deployed.num_bytes < 3 * deployed.num_weights
    line = f"{path} will have {_size(deployed.num_bytes)}: {deployed.num_weights:,} weights"
    if deployed.num_weights > 2 * parameters:
        line += (
            f", for the kernels of {parameters:,} parameters become plain convolutions; "
            f"kernels={_COMPUTED} keeps the parameters"
        )
    return line if is_half else f"{line}; dtype=float16 takes half as much"


def _size(num_bytes: float) -> str:
    return f"{num_bytes / 1e6:.0f} MB" if num_bytes >= 1e6 else f"{num_bytes / 1e3:.0f} kB"


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


def verify(
    trained: TrainedModel, path: Path, shape: Sequence[int], settings: SimpleNamespace
) -> bool:
    """Show how the file and its checkpoint differ on an image; return whether they agree."""
    outputs = _outputs(path, settings)

    def original(image: Tensor, names: Sequence[str]) -> Sequence[Tensor]:
        logits = trained.network(image)
        return logits, trained.decision(logits)

    found, allowed = difference(original, outputs, smooth_noise(shape)), _ALLOWED[settings.dtype]
    agrees = found.logits <= allowed.logits and found.labels >= allowed.labels
    log.info(
        f"Against the checkpoint: logits differ by at most {found.logits:.1e} "
        f"(allowed {allowed.logits:.0e}), {100 * found.labels:.4f} % of the labels agree "
        f"(at least {100 * allowed.labels:.2f} %): {'ok' if agrees else 'NOT the same'}"
    )
    return agrees


def _outputs(path: Path, settings: SimpleNamespace) -> Outputs:
    """What a file computes that this process has just written; one for predict is looked through.

    Raises:
        ModelError: Nothing can read it.
    """
    if settings.format != "onnx":
        return read_torch_export(path)
    if settings.kernels == _COMPUTED:
        return session(path, torch.device("cpu"))
    return read_onnx(path, torch.device("cpu"))[1]
