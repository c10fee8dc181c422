import sys

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from config import compose_config
from gaborseg.interface import build
from gaborseg.networks import NNUNet, VNet, parameter_counts, require_monai
from gaborseg.networks.baselines import planned_strides

SMALL = {"size": (16, 16, 16), "features": (4, 8, 8)}


def small_unet(in_channels: int = 1, **options: object) -> NNUNet:
    return NNUNet(in_channels, 3, **(SMALL | options))


def vnet_without_weights(in_channels: int = 1) -> VNet:
    with FakeTensorMode():
        return VNet(in_channels, 20)


@pytest.mark.parametrize(
    ("side", "features"),
    [
        (48, (32, 64, 128, 256)),
        (64, (32, 64, 128, 256, 320)),
        (96, (32, 64, 128, 256, 320)),
        (128, (32, 64, 128, 256, 320, 320)),
        (256, (32, 64, 128, 256, 320, 320)),
    ],
)
def test_the_size_of_the_volumes_plans_the_levels(side: int, features: tuple[int, ...]) -> None:
    with FakeTensorMode():
        network = NNUNet(1, 20, (side,) * 3)
    assert network.network.filters == features
    assert network.stride == (2 ** (len(features) - 1),) * 3


def test_an_axis_is_halved_while_four_voxels_remain_of_it() -> None:
    strides = planned_strides((16, 64, 7), most_levels=6)
    assert strides == ((1, 1, 1), (2, 2, 1), (2, 2, 1), (1, 2, 1), (1, 2, 1))


def test_small_volumes_have_three_levels_too() -> None:
    assert planned_strides((4, 4, 4), most_levels=6) == ((1, 1, 1), (2, 2, 2), (2, 2, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": None}, "size must be three positive numbers of voxels, got None"),
        ({"size": (48, 48)}, "size must be three positive numbers"),
        ({"size": (48, 48, 0)}, "size must be three positive numbers"),
        ({"features": (4, 8)}, "features must be given for at least 3 levels, got 2"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small_unet(**options)


@pytest.mark.parametrize("in_channels", [0, 3])
def test_vnet_says_how_many_channels_it_can_take(in_channels: int) -> None:
    with pytest.raises(ValueError, match=f"must divide 16, got {in_channels}"):
        VNet(in_channels, 2)


@pytest.mark.parametrize("shape", [(16, 16, 16), (17, 5, 31), (8, 4, 4), (1, 1, 1)])
@pytest.mark.parametrize("training", [True, False])
def test_the_unet_takes_any_size(shape: tuple[int, int, int], training: bool) -> None:
    logits = small_unet(2).train(training)(torch.randn(1, 2, *shape))
    assert logits.shape == (1, 3, *shape)
    assert logits.isfinite().all()


@pytest.mark.parametrize("shape", [(48, 48, 48), (17, 5, 31), (16, 16, 16), (1, 1, 1)])
@pytest.mark.parametrize("training", [True, False])
def test_vnet_takes_any_size(shape: tuple[int, int, int], training: bool) -> None:
    with FakeTensorMode():
        logits = VNet(2, 20).train(training)(torch.randn(1, 2, *shape))
    assert logits.shape == (1, 20, *shape)


def test_a_fitting_volume_is_left_alone() -> None:
    network, image = small_unet(), torch.randn(2, 1, 16, 8, 12)
    torch.testing.assert_close(network(image), network.network(image), rtol=0, atol=0)


def test_logits_are_those_of_the_volume_with_zeros_at_its_end() -> None:
    network, image = small_unet(), torch.randn(1, 1, 16, 16, 13)
    padded = nn.functional.pad(image, (0, 3))
    torch.testing.assert_close(network(image), network(padded)[..., :13])


def test_the_unet_gives_one_map_in_training_and_every_parameter_a_gradient() -> None:
    network = small_unet().train()
    network(torch.randn(1, 1, 16, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters())


def test_logits_are_neither_probabilities_nor_classes() -> None:
    logits = small_unet()(torch.randn(1, 1, 16, 16, 16))
    assert logits.min() < 0
    assert not torch.allclose(logits.sum(dim=1), torch.ones(1), atol=0.1)


def test_the_seed_decides_the_initial_weights() -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return nn.utils.parameters_to_vector(small_unet().parameters())

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_vnet_has_the_parameters_that_monais_has() -> None:
    network = vnet_without_weights()
    counts = parameter_counts(network)
    assert sum(counts.values()) == sum(p.numel() for p in network.parameters()) == 45_670_348
    assert (counts["pointwise"], counts["normalisation"]) == (20 * 21, 5_352)
    assert counts["gabor"] == counts["other"] == 0


def test_the_unets_parameters_are_counted_by_hand() -> None:
    encoder = 27 * (1 * 4 + 4 * 4 + 4 * 8 + 8 * 8 + 8 * 8 + 8 * 8)
    transposed = 8 * (8 * 8 + 8 * 4)
    decoder = 27 * (16 * 8 + 8 * 8 + 8 * 4 + 4 * 4)
    counts = parameter_counts(small_unet())
    assert counts["conventional"] == encoder + transposed + decoder
    assert counts["normalisation"] == 2 * 2 * (4 + 8 + 8 + 8 + 4)
    assert counts["pointwise"] == 4 * 3 + 3
    assert sum(counts.values()) == sum(p.numel() for p in small_unet().parameters())


def test_activations_with_parameters_are_counted() -> None:
    assert parameter_counts(nn.Sequential(nn.PReLU(5), nn.BatchNorm3d(2)))["other"] == 5


@pytest.mark.parametrize(("option", "kind"), [("vnet", VNet), ("nnunet", NNUNet)])
def test_the_options_build_them(option: str, kind: type[nn.Module]) -> None:
    node = compose_config([f"network={option}"]).network
    size = {"size": [48, 48, 48]} if option == "nnunet" else {}
    with FakeTensorMode():
        assert isinstance(build(node, in_channels=1, num_classes=20, **size), kind)


def test_without_monai_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "monai.networks", None)
    with pytest.raises(
        ImportError, match=r"need MONAI: pip install -e '\.\[baselines\]' in a clone"
    ):
        require_monai()
