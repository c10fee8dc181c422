"""What a training starts from: the weights of a trained network, of which parts may be frozen."""

import logging
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from rich.table import Table
from torch import nn
from torch.optim import Optimizer

from gaborseg.interface import build, show
from gaborseg.models import ModelError, TrainedModel, Transfer, load_trained, take_over
from gaborseg.runs import Run
from gaborseg.scans import Window, window_of
from gaborseg.training import SegmentationModule

log = logging.getLogger(__name__)

_SAME_SIZE = 1.5
"""Voxels that differ by less than this factor are alike to kernels that are measured in them."""
_PART = "weights"
"""Of a checkpoint's description: what the training started from."""


def check_start(weights: object) -> None:
    """Check the settings of what a training starts from.

    Raises:
        ValueError: One is of the wrong kind, out of range, or without a network to start from.
    """
    if not isinstance(weights, DictConfig):
        raise ValueError(f"weights must be written {{path: PATH}} in a YAML file, got {weights}")
    names, rate = weights.freeze, weights.rate
    if not OmegaConf.is_list(names) or not all(isinstance(n, str) and n for n in names):
        raise ValueError(f"weights.freeze must be a list of names, as [encoder], got {names}")
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < math.inf:
        raise ValueError(
            f"weights.rate must be a positive number, got {rate}; weights.freeze=[NAME] is for "
            "what is not to learn"
        )
    for key, given in (("freeze", list(names)), ("rate", rate != 1), ("trust", weights.trust)):
        if given and weights.path is None:
            raise ValueError(f"weights.{key} must go with weights=RUN or weights=CKPT, got no path")


def trained_source(weights: DictConfig, run: Run) -> TrainedModel | None:
    """Return the trained network that a run is to start from, on the CPU; None if there is none.

    Raises:
        ValueError: It cannot be read, or is the run's own.
    """
    if weights.path is None:
        return None
    place = Path(str(weights.path)).expanduser().resolve()
    if run.folder.resolve() in (place, *place.parents):
        raise ValueError(
            f"weights must be those of another run, got {weights.path}, which is in this one's "
            "folder: choose another folder with hydra.run.dir=..."
        )
    try:
        return load_trained(str(weights.path), trust=weights.trust)
    except ModelError as error:
        raise ValueError(f"weights must be a run folder or a checkpoint: {error}") from error


def start_from_weights(
    module: SegmentationModule,
    weights: DictConfig,
    source: TrainedModel | None,
    resume: Path | None,
) -> dict[str, Any]:
    """Load the weights of a source, freeze what is to be frozen, and return what was loaded.

    A run that goes on has its weights in its own checkpoint, which also tells which of them were
    loaded: the source is not read again, and may be gone.

    Args:
        module: With initial weights, and a description.
        weights: The settings.
        source: The trained network, unless the run goes on.
        resume: The checkpoint that it goes on from.

    Returns:
        For ``run.json``: path and digest of the source, and how many parameters were loaded, are
        new, and were left out. Empty for a run that starts from initial weights.

    Raises:
        ValueError: Nothing fits, or what is to be frozen does not exist or was not loaded.
    """
    if weights.path is None:
        return {}
    told = _told_by(resume) if source is None else _load(module, source)
    assert module.description is not None
    module.description = {**module.description, _PART: told}
    new = told["new_names"]
    _freeze(module.network, list(weights.freeze), new)
    if weights.rate != 1:
        loaded = [p for name, p in module.network.named_parameters() if name not in new]
        module.optimizer = partial(_at_two_rates, module.optimizer, loaded, weights.rate)
    known = {key: value for key, value in told.items() if key != "new_names"}
    return {"path": str(weights.path), **known}


def _told_by(checkpoint: Path | None) -> dict[str, Any]:
    """Return what a run has noted in its own checkpoint about its start."""
    content = torch.load(str(checkpoint), map_location="cpu", weights_only=True, mmap=True)
    told: dict[str, Any] = content["description"][_PART]
    return told


def _load(module: SegmentationModule, source: TrainedModel) -> dict[str, Any]:
    """Take over what fits, show it, and return what is to be noted of it: plain values."""
    assert module.description is not None
    data = module.description["data"]
    channels = data["channels"]
    transfer = take_over(
        module.network,
        source,
        structures=module.structures,
        channels=channels,
        rebuild=partial(build, module.description["network"]),
    )
    _show(transfer, source)
    for line in _remarks(module.structures, data, source):
        rank_zero_only(log.info)(line)
    counts = {
        "loaded": sum(transfer.loaded.values()),
        "new": sum(transfer.new.values()),
        "left_out": sum(transfer.left_out.values()),
    }
    return {"digest": source.digest, **counts, "new_names": [*transfer.new]}


@rank_zero_only
def _show(transfer: Transfer, source: TrainedModel) -> None:
    """Show how many parameters of each part of the network were loaded."""
    table = Table(f"weights of {source.checkpoint}")
    for column in ("loaded", "new", "left out"):
        table.add_column(column, justify="right")
    parts = transfer.by_part()
    for part, counts in parts.items():
        table.add_row(part, *(f"{count:,}" for count in counts))
    table.add_section()
    totals = map(sum, zip(*parts.values(), strict=True))
    table.add_row("total", *(f"{total:,}" for total in totals), style="bold")
    show(table)


def _remarks(
    structures: Sequence[str], data: Mapping[str, Any], source: TrainedModel
) -> Iterator[str]:
    """Yield a line for what the source does not know, knows and is not wanted, or saw otherwise."""
    for kind, here, there in (
        ("structures", structures, source.structures),
        ("channels", data["channels"], source.channels),
    ):
        if new := [name for name in here if name not in there]:
            yield f"weights: new {kind}: {', '.join(new)}"
        if lost := [name for name in there if name not in here]:
            yield f"weights: {kind} of the source that are not here: {', '.join(lost)}"
    own, seen = window_of(data), window_of(source.data)
    if own != seen:
        yield (
            f"weights: the source saw {_in_words(seen)}, these data have {_in_words(own)}; prepare "
            "them with the source's window if both are of one kind, as CT"
        )
    yield from _other_voxels(data, source)


def _other_voxels(data: Mapping[str, Any], source: TrainedModel) -> Iterator[str]:
    """Yield a line if the voxels of the data are much larger or smaller than the source's."""
    own, trained = max(data["spacing"]), max(source.spacing)
    if own / trained >= _SAME_SIZE or trained / own >= _SAME_SIZE:
        yield (
            f"weights: the source was trained on voxels of {trained:.3g} mm, these data have "
            f"{own:.3g} mm; kernels are measured in voxels, so prepare these data with the "
            f"source's size={max(source.size)}, or the weights may be of little use"
        )


def _in_words(window: Window | None) -> str:
    return (
        "all intensities" if window is None else f"intensities from {window[0]:g} to {window[1]:g}"
    )


def _freeze(network: nn.Module, prefixes: Sequence[str], new: Collection[str]) -> None:
    """Keep the parameters and the statistics of some parts as they are.

    Raises:
        ValueError: There is no such part, it is not wholly loaded, or nothing is left to train.
    """
    names = [name for name, _ in network.named_parameters()]
    for prefix in prefixes:
        part = [name for name in names if _is_in(name, prefix)]
        if not part:
            raise ValueError(_unknown(prefix, names))
        if unloaded := [name for name in part if name in new]:
            raise ValueError(
                f"weights.freeze must name parts that were loaded, got {prefix}, of which "
                f"{unloaded[0]} is new"
            )
        for name in part:
            network.get_parameter(name).requires_grad_(False)
        for name, layer in network.named_modules():
            if _is_in(name, prefix) and hasattr(layer, "running_mean"):
                layer.eval()  # a normalisation whose statistics would follow the data
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ValueError(f"weights.freeze must leave something to train, got {list(prefixes)}")


def _is_in(name: str, prefix: str) -> bool:
    return f"{name}.".startswith(f"{prefix}.")


def _unknown(prefix: str, names: Sequence[str]) -> str:
    """Return what is wrong with the name of a part, and which is nearest to it."""
    parts = dict.fromkeys(
        ".".join(name.split(".")[:depth]) for depth in range(1, 9) for name in names
    )
    near = get_close_matches(prefix, parts, n=1)
    known = ", ".join(name for name in parts if "." not in name)
    hint = f"the nearest is {near[0]}" if near else f"there are {known}"
    return f"weights.freeze must name parts of the network, got {prefix}: {hint}"


def _at_two_rates(
    optimizer: Callable[..., Optimizer],
    loaded: Sequence[nn.Parameter],
    factor: float,
    parameters: Iterable[nn.Parameter],
) -> Optimizer:
    """Return an optimiser of two groups: what is new, and at so many times its rate what is not.

    A schedule multiplies the rates of both. An empty group is left out.
    """
    ids = {id(parameter) for parameter in loaded}
    groups: Mapping[bool, list[nn.Parameter]] = {False: [], True: []}
    for parameter in parameters:
        groups[id(parameter) in ids].append(parameter)
    built = optimizer([{"params": group} for group in groups.values() if group])
    if groups[True]:
        built.param_groups[-1]["lr"] *= factor
    return built
