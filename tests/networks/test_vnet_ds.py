from itertools import pairwise

import pytest
import torch
from hydra.utils import instantiate
from torch import nn
from torch.nn import functional as F

from config import compose_config
from gaborseg.layers import ConventionalConv3d, GaborConv3d
from gaborseg.networks import VNetDS, parameter_counts
from gaborseg.networks.vnet_ds import RightLeg

SMALL = {"channels": (4, 4, 4, 4, 8), "depths_down": (1,) * 5, "depths_up": (1,) * 4}


def conventional(in_channels: int, out_channels: int) -> nn.Module:
    return ConventionalConv3d(in_channels, out_channels, kernel_size=3)


def small_network(**options: object) -> VNetDS:
    return VNetDS(1, 3, [conventional] * 5, **(SMALL | options))


@pytest.mark.parametrize(
    ("overrides", "count"),
    [
        (["kernel=conventional"], 4_991_540),
        (["kernel=gabor"], 1_530_272),
        (["kernel=mixed"], 1_598_900),
        (["kernel=conventional", "kernel.conventional.kernel_size=5"], 22_844_396),
        (["kernel=mixed", "kernel.conventional.kernel_size=5"], 1_952_876),
    ],
)
def test_parameter_counts_are_the_papers(overrides: list[str], count: int) -> None:
    network = instantiate(compose_config(overrides).network, in_channels=1, num_classes=20)
    assert sum(parameter_counts(network).values()) == count
    assert sum(p.numel() for p in network.parameters()) == count


def test_counts_are_split_by_kind() -> None:
    network = VNetDS(1, 3, [conventional] * 4 + [GaborConv3d], **SMALL)
    counts = parameter_counts(network)
    assert counts["gabor"] == 8 * 4 * 8
    assert counts["pointwise"] == 1 * 4 + 3 * 4 * 4 + 4 * 8 + 3 * 8 * 4 + 12 * 4 + 3 * 24 + 3
    assert counts["normalisation"] == 2 * 2 * (4 * 4 + 8 + 4 * 4)
    assert counts["other"] == 0


@pytest.mark.parametrize("shape", [(16, 16, 16), (16, 32, 16), (17, 5, 31), (1, 1, 1)])
def test_any_size_comes_back(shape: tuple[int, int, int]) -> None:
    assert small_network()(torch.zeros(2, 1, *shape)).shape == (2, 3, *shape)


def test_padding_leaves_a_fitting_volume_alone() -> None:
    network = small_network()
    nn.init.normal_(network.right_leg.scores[0].weight)
    image = torch.randn(1, 1, 16, 16, 13)
    padded = F.pad(image, (0, 3))
    torch.testing.assert_close(network(image), network(padded)[..., :13])


def test_right_leg_equals_one_convolution_of_the_concatenated_upsampled_features() -> None:
    channels = (4, 6, 8)
    leg = RightLeg(channels, 5, "trilinear")
    for parameter in leg.parameters():
        nn.init.normal_(parameter)
    features = [torch.randn(2, c, 8 >> i, 8 >> i, 12 >> i) for i, c in enumerate(channels)]
    raised = [F.interpolate(x, size=(8, 8, 12), mode="trilinear") for x in features]
    weight = torch.cat([score.weight for score in leg.scores], dim=1)
    expected = F.conv3d(torch.cat(raised, dim=1), weight, leg.scores[0].bias)
    torch.testing.assert_close(leg(features), expected)


def test_every_class_starts_about_equally_likely_but_not_constant() -> None:
    probs = small_network()(torch.randn(1, 1, 16, 16, 16)).softmax(dim=1)
    torch.testing.assert_close(probs, torch.full_like(probs, 1 / 3), atol=0.1, rtol=0)
    assert probs.std(dim=(2, 3, 4)).min() > 1e-4


def test_every_parameter_gets_a_gradient_once_the_right_leg_has_moved() -> None:
    network = small_network()
    for score in network.right_leg.scores:
        nn.init.normal_(score.weight)
    network(torch.randn(1, 1, 32, 32, 32)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters())


def test_each_level_convolves_as_it_was_told() -> None:
    levels = [lambda i, o, k=k: ConventionalConv3d(i, o, kernel_size=k) for k in (1, 3, 5, 7, 9)]
    network = VNetDS(1, 2, levels, **SMALL)
    sizes = [block.units[0][0].kernel_size[0] for block in network.encoder]
    assert sizes == [1, 3, 5, 7, 9]
    assert [block.units[0][0].kernel_size[0] for block in network.decoder] == [1, 3, 5, 7]


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["conventional", "mixed", "gabor"])
def test_variance_neither_grows_nor_dies_through_the_levels(kernel: str) -> None:
    torch.manual_seed(0)
    network = instantiate(
        compose_config([f"kernel={kernel}"]).network, in_channels=1, num_classes=20
    )
    spread: dict[str, list[float]] = {"convolution": [], "block": []}

    def record(name: str):
        return lambda module, inputs, output: spread[name].append(output.var().item())

    for block in [*network.encoder, *network.decoder]:
        block.register_forward_hook(record("block"))
        for unit in block.units:
            unit[0].register_forward_hook(record("convolution"))
    with torch.no_grad():
        network(torch.randn(1, 1, 64, 64, 64))
    blocks = spread["block"]
    for before, after in pairwise(blocks):
        assert 0.5 < after / before < 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": (4, 4, 4, 4, 6)}, "channels must be divisible by groups=4"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"interpolation": "cubic"}, "interpolation must be trilinear or nearest, got 'cubic'"),
        ({"depths_up": (1, 1)}, "depths_up must have 4 entries for 5 levels of channels, got 2"),
        (
            {"depths_down": (1, 1)},
            "depths_down must have 5 entries for 5 levels of channels, got 2",
        ),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small_network(**options)


@pytest.mark.parametrize(("channels", "classes"), [(0, 3), (1, 1)])
def test_counts_must_make_sense(channels: int, classes: int) -> None:
    with pytest.raises(ValueError, match=r"(in_channels|num_classes) must be"):
        VNetDS(channels, classes, [conventional] * 5, **SMALL)


def test_the_number_of_convolutions_is_the_number_of_levels() -> None:
    with pytest.raises(
        ValueError, match="convolutions must have 5 entries for 5 levels of channels, got 4"
    ):
        VNetDS(1, 3, [conventional] * 4, **SMALL)


def gradients(network: VNetDS, image: torch.Tensor) -> list[torch.Tensor]:
    torch.manual_seed(1)
    logits = network(image)
    return [logits, *torch.autograd.grad(logits.square().sum(), [*network.parameters()])]


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("levels", [1, 2, 5])
def test_gradients_that_are_computed_again_are_bit_for_bit_the_same(
    levels: int, dropout: float
) -> None:
    networks = [small_network(checkpointing=count, dropout=dropout) for count in (0, levels)]
    networks[1].load_state_dict(networks[0].state_dict())
    image = torch.randn(2, 1, 16, 16, 13)
    kept, again = (gradients(network, image) for network in networks)
    assert all(map(torch.equal, kept, again))


def test_features_are_computed_again_in_the_precision_of_the_training() -> None:
    networks = [small_network(checkpointing=count) for count in (0, 2)]
    networks[1].load_state_dict(networks[0].state_dict())
    image = torch.randn(1, 1, 16, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        losses = [network(image).square().sum() for network in networks]
    kept, again = (
        torch.autograd.grad(loss, [*network.parameters()])
        for loss, network in zip(losses, networks, strict=True)
    )
    assert all(map(torch.equal, kept, again))


def kept_bytes(network: VNetDS, image: torch.Tensor) -> int:
    """What the forward pass keeps of features for the backward pass."""
    storages: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(image)
    return sum(storages.values())


def test_few_features_are_kept_of_levels_that_are_computed_again() -> None:
    image = torch.randn(1, 1, 32, 32, 32)
    none, one, two = (kept_bytes(small_network(checkpointing=count), image) for count in range(3))
    assert two < one < none / 3


def test_without_gradients_nothing_is_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gaborseg.networks.vnet_ds.checkpoint", lambda *_, **__: 1 / 0)
    with torch.no_grad():
        small_network(checkpointing=2)(torch.zeros(1, 1, 16, 16, 16))


@pytest.mark.parametrize("count", [-1, 6, 0.5])
def test_no_more_levels_than_there_are_can_be_computed_again(count: float) -> None:
    with pytest.raises(ValueError, match=rf"checkpointing must be .* 0 to 5, got {count}"):
        small_network(checkpointing=count)
