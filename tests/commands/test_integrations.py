"""docs/integrations.md: every program of the page, executed as it stands."""

import importlib.util
import math
import re
from typing import Any

import pytest
import torch
from torch import nn

from config import PROJECT
from gaborseg.layers import GaborConv3d

PAGE = (PROJECT / "docs" / "integrations.md").read_text()
PROGRAMS = dict(
    re.findall(r"^## ([^\n]+)\n.*?^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
)
NNUNET = "An nnU-Net trainer"


def run(title: str) -> dict[str, Any]:
    """What a program leaves."""
    names: dict[str, Any] = {}
    exec(PROGRAMS[title], names)
    return names


def test_the_page_has_four_programs() -> None:
    assert len(PROGRAMS) == 4


@pytest.mark.parametrize("title", [title for title in PROGRAMS if title != NNUNET])
def test_a_program_learns(title: str) -> None:
    losses = run(title)["losses"]
    assert all(map(math.isfinite, losses))
    assert len(losses) < 10 or losses[-1] < 0.9 * losses[0]


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("nnunetv2"), reason="nnunetv2 is not installed")
def test_the_trainer_of_nnunet_has_gabor_kernels_and_trains_a_step() -> None:
    trainer_class = run(NNUNET)["nnUNetTrainerGaborPCC"]
    block: dict[str, Any] = {
        "n_stages": 3,
        "features_per_stage": [4, 8, 8],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[3, 3, 3]] * 3,
        "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
        "n_conv_per_stage": [1, 1, 1],
        "n_conv_per_stage_decoder": [1, 1],
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    needed = ["conv_op", "norm_op", "dropout_op", "nonlin"]
    name = "dynamic_network_architectures.architectures.unet.PlainConvUNet"
    network = trainer_class.build_network_architecture(name, block, needed, 1, 3, True)
    kinds = [type(m) for m in network.modules() if isinstance(m, nn.Conv3d | GaborConv3d)]
    assert kinds.count(GaborConv3d) == 5
    trainer = trainer_class.__new__(trainer_class)
    trainer.network, trainer.enable_deep_supervision = network, True
    trainer._get_deep_supervision_scales = lambda: [[1, 1, 1], [0.5, 0.5, 0.5]]
    optimizer, _ = trainer.configure_optimizers()
    image = torch.randn(1, 1, 16, 16, 16)
    label = (image > 0).float() + (image > 1)
    targets, loss, losses = [label, label[..., ::2, ::2, ::2]], trainer._build_loss(), []
    for _ in range(5):
        optimizer.zero_grad()
        value = loss(network(image), targets)
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert losses[-1] < losses[0]
