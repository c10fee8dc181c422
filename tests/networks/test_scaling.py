from functools import partial

import pytest
import torch
from torch import nn

from config import compose_config
from gaborseg.interface import build
from gaborseg.layers import ConventionalConv3d, GaborConv3d
from gaborseg.networks import HNOSegXS, VNetDS, scale_kernels

SMALL = {"channels": (4, 8), "depths_down": (1, 1), "depths_up": (1,)}
REFUSED = (
    r"^network\.scale must be 1 for a network with conventional kernels, .*, got 2; kernel=gabor"
)


def small_network(*kernels: type[nn.Module], **options: object) -> VNetDS:
    return VNetDS(1, 3, [partial(kernel, kernel_size=3) for kernel in kernels], **SMALL, **options)


def test_all_kernels_of_a_gabor_network_are_scaled() -> None:
    network = small_network(GaborConv3d, GaborConv3d, scale=3)
    layers = [module for module in network.modules() if isinstance(module, GaborConv3d)]
    assert [(layer.kernel_size, layer.scale) for layer in layers] == [(7, 3)] * 3


def test_a_scaled_network_takes_the_weights_of_the_one_that_was_trained() -> None:
    coarse, fine = (small_network(GaborConv3d, GaborConv3d, scale=scale) for scale in (1, 2))
    fine.load_state_dict(coarse.state_dict())
    image = torch.randn(1, 1, 8, 8, 8)
    scale_kernels(coarse, 2)
    torch.testing.assert_close(fine(image), coarse(image), rtol=0, atol=0)


@pytest.mark.parametrize("kernels", [[ConventionalConv3d] * 2, [ConventionalConv3d, GaborConv3d]])
def test_conventional_kernels_are_refused(kernels: list[type[nn.Module]]) -> None:
    with pytest.raises(ValueError, match=REFUSED):
        small_network(*kernels, scale=2)


def test_a_network_without_gabor_kernels_is_refused() -> None:
    with pytest.raises(ValueError, match=REFUSED):
        scale_kernels(HNOSegXS(1, 2, filters=2, blocks=(1,)), 2)


def test_the_setting_scales_the_papers_network() -> None:
    config = compose_config(["kernel=gabor", "network=vnet_ds_tiny", "network.scale=2"])
    network = build(config.network, in_channels=1, num_classes=3)
    assert network.encoder[0].units[0][0].kernel_size == 13
