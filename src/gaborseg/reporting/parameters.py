"""Trained parameters of the networks of a report, by level and kind."""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch._subclasses.fake_tensor import FakeTensorMode

from gaborseg.models import ModelError, build_network
from gaborseg.networks import MONAI_NETWORKS, VNetDS, parameter_counts
from gaborseg.runs import RunFileError, read_settings
from gaborseg.study import RunRecord, Study

log = logging.getLogger(__name__)


_Levels = dict[str, dict[str, int]]


def levels_of(study: Study, trust: Sequence[str] = ()) -> dict[str, _Levels]:
    """Trained parameters by configuration id, level and kind, of our own networks.

    A network whose layers may not be built here is left out: ``run.json`` has its counts.

    Args:
        study: The runs.
        trust: Modules and packages of the user's whose layers may be built.
    """
    known: dict[str, _Levels] = {}
    levels = {}
    for configuration in study.configurations:
        run = study.runs[next(iter(configuration.runs.values()))[0]]
        try:
            node = _network_node(run)
            text = json.dumps(node, default=str)
            if node and text not in known:
                known[text] = _count_levels(node, trust)
        except (ModelError, RunFileError) as error:  # of older code, or of somebody else's
            log.warning(f"note: {run.folder}: parameters by level are left out: {error}")
        else:
            levels[configuration.id] = known.get(text, {})
    return levels


def _network_node(run: RunRecord) -> dict[str, Any]:
    """Return how the network of a run is built, nothing if that is not recorded.

    Raises:
        RunFileError: If its configuration cannot be read.
    """
    network = read_settings(run.folder).get("network")
    if not isinstance(network, dict):
        return {}
    classes = {"num_classes": len(run.structures) + 1}
    return network | classes | {"in_channels": len(run.data.get("channels") or ["image"])}


def _count_levels(node: Mapping[str, Any], trust: Sequence[str]) -> _Levels:
    """Return trained parameters by level and kind; nothing for networks that have no levels.

    Raises:
        ModelError: If it names anything but our own networks and layers, or cannot be built.
    """
    if node.get("_target_") in MONAI_NETWORKS:  # which may not be installed here
        return {}
    with FakeTensorMode():  # shapes are enough
        network = build_network(node, trust)
    if not isinstance(network, VNetDS):
        return {}
    blocks = {f"level {i}": [block] for i, block in enumerate(network.encoder)}
    for i, block in enumerate(network.decoder):
        blocks[f"level {i}"].append(block)
    blocks["right leg"] = [network.right_leg]
    return {level: _add_up(map(parameter_counts, parts)) for level, parts in blocks.items()}


def _add_up(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the sum of counts, key by key."""
    total: dict[str, int] = {}
    for part in counts:
        for key, value in part.items():
            total[key] = total.get(key, 0) + value
    return total
