"""A trained network, read from a checkpoint that a stranger may have made.

Nothing is unpickled but tensors and plain values. Nothing is built but our own networks, layers and
decisions, and those of modules that the caller trusts by name. No size is believed before it has
been compared with the weights in the file.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from hydra.errors import HydraException
from hydra.utils import instantiate
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from gaborseg.decisions import Argmax, Calibrated
from gaborseg.models.archive import read_checkpoint
from gaborseg.models.description import ModelError, check_description, check_node
from gaborseg.runs import (
    RunFile,
    RunFileError,
    not_finite,
    read_record,
    read_settings,
    told_digest,
)

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""What weights may be stored as; they are used as float32."""
_LARGEST_KERNELS = 2**29
"""Voxels in all kernels of a network, 2 GiB in float32; the 7x7x7 Gabor network has 2^26."""


@dataclass(frozen=True)
class TrainedModel:
    """A network with its weights, in evaluation mode, and what is needed to use it.

    Attributes:
        checkpoint: The file it was read from.
        network: Maps prepared images (B, I, D, H, W) to logits (B, C, D, H, W).
        decision: Maps logits to a label map (B, D, H, W); ``scores`` gives what it compares.
        structures: Names of the labels 1 ... C-1.
        channels: Names of the images of a case, in the network's order.
        size: Voxels along each axis of the prepared volumes that it was trained on.
        spacing: Millimetres from voxel to voxel in the first of them.
        data: All that the checkpoint says about the data: name, credit, licence, versions.
        config: The run's resolved configuration, or ``network`` and ``decision`` alone where the
            checkpoint is no longer in its run folder.
        run: The run folder, if the checkpoint is in one.
        digest: Hexadecimal digits that the weights in the checkpoint decide, as it tells them.
    """

    checkpoint: Path
    network: nn.Module
    decision: Argmax | Calibrated
    structures: tuple[str, ...]
    channels: tuple[str, ...]
    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    data: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    run: Path | None = None
    digest: str = ""


def choose_device(name: str) -> torch.device:
    """The device that is meant: ``auto`` is the GPU if there is one.

    Raises:
        ValueError: There is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"device must be auto, cpu or cuda, got {name}: {reason}") from error
    return device


def load_trained(
    checkpoint: str | Path, device: str | torch.device = "cpu", trust: Sequence[str] = ()
) -> TrainedModel:
    """The trained model in a checkpoint.

    Args:
        checkpoint: A ``.ckpt`` file, wherever it is now, or a run folder, whose ``best.ckpt`` is
            taken.
        device: Where the network is to be.
        trust: Modules and packages of yours, importable here, whose layers the network may have.

    Raises:
        ModelError: The file is missing, damaged or of another run than the folder around it, holds
            anything but tensors and plain values, names something that is not to be built, or its
            parts do not belong together or are not finite.
    """
    path = Path(checkpoint).expanduser()
    path = path / RunFile.BEST if path.is_dir() else path
    content = read_checkpoint(path)
    try:
        return _assemble(path, content, torch.device(device), trust)
    except (ModelError, RunFileError) as error:
        raise ModelError(f"{path}: {error}") from error


def _assemble(
    path: Path, content: dict[str, Any], device: torch.device, trust: Sequence[str]
) -> TrainedModel:
    description = content.get("description") or _described_by_run(path.parent)
    check_description(description)
    state = {name: _as_used(value) for name, value in content["state_dict"].items()}
    if names := not_finite(state):
        raise ModelError(f"weights must be finite, got NaN or infinity in {names[0]}")
    weights = _weights_of("network", state)
    network = _network(description["network"], weights, trust).to(device)
    decision = _loaded(_build(description["decision"]), _weights_of("decision", state)).to(device)
    if not isinstance(decision, Argmax | Calibrated):
        raise ModelError(f"decision must be Argmax or Calibrated, got {type(decision).__name__}")
    run = path.parent if (path.parent / RunFile.SETTINGS).is_file() else None
    config = read_settings(run) if run else {}
    data = description["data"]
    return TrainedModel(
        checkpoint=path,
        network=network,
        decision=decision,
        structures=tuple(data["structures"]),
        channels=tuple(data["channels"]),
        size=tuple(data["size"]),
        spacing=tuple(data["spacing"]),
        data=data,
        config=config | {part: description[part] for part in ("network", "decision")},
        run=run,
        digest=told_digest(content),
    )


def _as_used(weight: Tensor) -> Tensor:
    """Return a weight in single precision, if it is a number with a fraction."""
    return weight.float() if weight.dtype in _FLOATS else weight


def _described_by_run(folder: Path) -> dict[str, Any]:
    """Return the description of a checkpoint that carries none, from the run folder around it.

    Raises:
        ModelError: The folder lacks ``config.yaml`` or ``run.json``, or they say too little.
    """
    for name in (RunFile.SETTINGS, RunFile.RECORD):
        if not (folder / name).is_file():
            raise ModelError(f"{name} must be beside it, as in its run folder")
    config, record = read_settings(folder), read_record(folder)
    try:
        data, decision = record["data"], config["decision"]
        classes = {"num_classes": len(data["structures"]) + 1}
        return {
            "network": config["network"] | classes | {"in_channels": len(data["channels"])},
            "decision": decision | classes if "num_classes" in decision else decision,
            "data": data,
        }
    except (KeyError, TypeError) as error:
        raise ModelError(f"its run folder does not describe the model: {error!r}") from error


def _weights_of(part: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    prefix = f"{part}."
    return {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}


def _network(
    node: Mapping[str, Any], weights: Mapping[str, Tensor], trust: Sequence[str] = ()
) -> nn.Module:
    """Return the network with its weights; built without memory first, to see that it fits them."""
    with FakeTensorMode():
        network = _build(node, trust)
    _check_weights(network, weights)
    network.load_state_dict({name: value.clone() for name, value in weights.items()}, assign=True)
    if any(isinstance(value, FakeTensor) for value in _values_of(network)):
        network = _loaded(_build(node, trust), weights)  # it also holds what is in no checkpoint
    return network.eval().requires_grad_(False)


def _values_of(module: nn.Module) -> Iterator[object]:
    for part in module.modules():
        yield from (*part.__dict__.values(), *part.parameters(False), *part.buffers(False))


def _loaded(module: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """Return a module with its weights, in evaluation mode."""
    _check_weights(module, weights)
    module.load_state_dict(dict(weights))
    return module.eval().requires_grad_(False)


def _check_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Check that weights have the names, shapes and types of a module's.

    Raises:
        ModelError: They have not.
    """
    own = module.state_dict()
    wanted = {name: tuple(value.shape) for name, value in own.items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise ModelError(f"{name} must be {wanted.get(name)}, got {found.get(name)}")
        if own[name].dtype != weights[name].dtype:
            raise ModelError(f"{name} must be {own[name].dtype}, got {weights[name].dtype}")


def build_network(node: Mapping[str, Any], trust: Sequence[str] = ()) -> nn.Module:
    """The network of a resolved configuration's node ``network``, with initial weights.

    Args:
        node: ``_target_`` and arguments, with numbers for ``in_channels`` and ``num_classes``.
        trust: Modules and packages of the user's whose layers it may have.

    Raises:
        ModelError: The node asks for something that is not to be built, or cannot be.
    """
    with FakeTensorMode():
        _build(node, trust)
    return _build(node, trust)


def _build(node: Mapping[str, Any], trust: Sequence[str] = ()) -> nn.Module:
    check_node(node, trust)
    try:
        module = instantiate(dict(node), _convert_="all")
    except (HydraException, ValueError, TypeError, RuntimeError) as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise ModelError(f"{node.get('_target_')} cannot be built: {reason}") from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"_target_ and its arguments must give a module, got {type(module)}")
    if (voxels := _kernel_voxels(module)) > _LARGEST_KERNELS:
        raise ModelError(f"all kernels must have at most {_LARGEST_KERNELS} voxels, got {voxels}")
    return module


def _kernel_voxels(module: nn.Module) -> int:
    """Return how many voxels the kernels of a module have in all, computed ones included."""
    return sum(_voxels_of(layer) for layer in module.modules() if hasattr(layer, "in_channels"))


def _voxels_of(layer: Any) -> int:
    size = getattr(layer, "kernel_size", 0)
    side = max(size) if isinstance(size, tuple) else size
    return layer.in_channels * layer.out_channels * side**3
