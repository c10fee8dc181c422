"""A checkpoint of a tiny network that nobody has trained, as a training would leave it."""

import copy
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
from omegaconf import OmegaConf

from config import compose_config
from gaborseg.interface import build

STRUCTURES = ["egg", "left_ball", "right_box"]


def description(
    kernel: str = "mixed", decision: str = "calibrated", size: int = 16, **data: Any
) -> dict[str, Any]:
    """What the checkpoint says about itself."""
    nodes = copy.deepcopy(composed(kernel, decision))
    facts = {
        "name": "tiny",
        "structures": list(STRUCTURES),
        "channels": ["T1w"],
        "size": [size] * 3,
        "spacing": [6.0] * 3,
        "licence": "free",
    }
    return {"network": nodes["network"], "decision": nodes["decision"], "data": facts | data}


def unet_description(size: int = 16) -> dict[str, Any]:
    """What a checkpoint of a network with kernels of its own says about itself."""
    told = description(size=size)
    told["network"] = {
        "_target_": "gaborseg.networks.NNUNet",
        "in_channels": 1,
        "num_classes": len(STRUCTURES) + 1,
        "size": [size] * 3,
        "features": [4, 4, 8],
    }
    return told


def hnoseg_description(size: int = 16) -> dict[str, Any]:
    """What a checkpoint of a network that works on frequencies says about itself."""
    told = description(size=size)
    told["network"] = {
        "_target_": "gaborseg.networks.HNOSegXS",
        "in_channels": 1,
        "num_classes": len(STRUCTURES) + 1,
        "filters": 4,
        "blocks": [2, 2, 2, 2],
        "modes": [5, 5, 5],
    }
    return told


@cache
def composed(kernel: str, decision: str) -> dict[str, Any]:
    """The configuration of a tiny network."""
    config = compose_config(
        [
            "experiment=smoke",
            f"kernel={kernel}",
            f"decision={decision}",
            "network.in_channels=1",
            f"network.num_classes={len(STRUCTURES) + 1}",
        ]
    )
    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))


def write_checkpoint(path: Path, told: dict[str, Any] | None = None, seed: int = 0) -> Path:
    """Write a checkpoint with random weights and a random decision map."""
    told = told or description()
    torch.manual_seed(seed)
    network = build(OmegaConf.create(told["network"]))
    decision = build(OmegaConf.create(told["decision"]))
    if hasattr(network, "right_leg"):  # whose scores start near zero
        for parameter in network.right_leg.parameters():
            torch.nn.init.normal_(parameter)
    if "num_classes" in told["decision"]:
        decision.scale.uniform_(0.5, 2)
        decision.offset.uniform_(-0.1, 0.1)
    state = {f"network.{name}": value for name, value in network.state_dict().items()}
    state |= {f"decision.{name}": value for name, value in decision.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"epoch": 0, "state_dict": state, "description": told}, path)
    return path
