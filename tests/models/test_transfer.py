from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gaborseg.decisions import Argmax
from gaborseg.layers import ConventionalConv3d, GaborConv3d, GeneralGaborConv3d
from gaborseg.models import TrainedModel, Transfer, take_over
from gaborseg.networks import VNetDS

TENFOLD = {"sigma": 10, "theta": 10, "frequency": 2, "phase": 10}


def network(
    convolution: Callable[..., nn.Module] = ConventionalConv3d,
    *,
    in_channels: int = 1,
    num_classes: int = 3,
) -> VNetDS:
    built = VNetDS(
        in_channels,
        num_classes,
        [convolution] * 2,
        channels=(4, 4),
        depths_down=(1, 1),
        depths_up=(1,),
    )
    for parameter in built.right_leg.parameters():
        nn.init.normal_(parameter)
    return built.eval().requires_grad_(False)


def trained(
    built: nn.Module, structures: str = "a b", channels: str = "T1w", **more: Any
) -> TrainedModel:
    return TrainedModel(
        checkpoint=Path("source.ckpt"),
        network=built,
        decision=Argmax(),
        structures=tuple(structures.split()),
        channels=tuple(channels.split()),
        size=(8, 8, 8),
        spacing=(1.0, 1.0, 1.0),
        **more,
    )


def transfer(
    own: nn.Module,
    source: TrainedModel,
    structures: str = "a b",
    channels: str = "T1w",
    convolution: Callable[..., nn.Module] = ConventionalConv3d,
) -> Transfer:
    return take_over(
        own,
        source,
        structures=structures.split(),
        channels=channels.split(),
        rebuild=partial(network, convolution),
    )


def size_of(*tensors: torch.Tensor) -> int:
    return sum(tensor.numel() for tensor in tensors)


def test_a_network_like_the_source_computes_what_it_does() -> None:
    own, source, image = network(), network(), torch.randn(1, 1, 8, 8, 8)
    done = transfer(own, trained(source))
    assert torch.equal(own(image), source(image))
    assert sum(done.loaded.values()) == size_of(*source.state_dict().values())
    assert (done.new, done.left_out) == ({}, {})


def test_structures_in_another_order_take_their_own_rows() -> None:
    own, source, image = network(), network(), torch.randn(1, 1, 8, 8, 8)
    transfer(own, trained(source, "a b"), structures="b a")
    assert torch.equal(own(image), source(image)[:, [0, 2, 1]])


def test_structures_of_both_are_taken_over_by_name_and_others_stay() -> None:
    own, source = network(num_classes=4), network(num_classes=3)
    before = own.right_leg.scores[0].bias.clone()
    done = transfer(own, trained(source, "a b"), structures="b c d")
    bias, theirs = own.right_leg.scores[0].bias, source.right_leg.scores[0].bias
    assert torch.equal(bias, torch.cat([theirs[[0, 2]], before[[2, 3]]]))
    names = ("right_leg.scores.0.weight", "right_leg.scores.0.bias", "right_leg.scores.1.weight")
    assert done.new == dict(zip(names, (8, 2, 8), strict=True))
    assert done.left_out == dict(zip(names, (4, 1, 4), strict=True))
    assert done.by_part()["right_leg"] == (18, 18, 9)


@pytest.mark.parametrize(
    ("here", "there", "taken"),
    [
        ("T1w FLAIR", "T1w", [0, 0]),
        ("FLAIR T1w", "T1w T2w", [1, 0]),
        ("T2w", "T1w T2w", [1]),
        ("MR", "T1w", [0]),
        ("x y z", "a b", [0, 1, 0]),
    ],
)
@pytest.mark.parametrize("layer", [ConventionalConv3d, GaborConv3d])
def test_a_channel_takes_the_kernels_of_its_namesake_or_of_one_without(
    layer: type[nn.Module], here: str, there: str, taken: list[int]
) -> None:
    own = network(layer, in_channels=len(here.split()))
    source = network(layer, in_channels=len(there.split()))
    transfer(own, trained(source, channels=there), channels=here, convolution=layer)
    name = "weight" if layer is ConventionalConv3d else "gabor"
    for layers in (lambda n: n.encoder[0].units[0][0], lambda n: n.encoder[0].shortcut[0]):
        attribute = name if layers(own) is own.encoder[0].units[0][0] else "weight"
        mine, theirs = getattr(layers(own), attribute), getattr(layers(source), attribute)
        assert torch.equal(mine, theirs[:, taken])


def test_channels_that_are_taken_over_count_once_in_the_source() -> None:
    own, source = network(in_channels=2), network(in_channels=1)
    done = transfer(own, trained(source), channels="T1w FLAIR")
    assert (done.new, done.left_out) == ({}, {})


def test_gabor_kernels_are_taken_over_at_any_size() -> None:
    small, large = partial(GaborConv3d, kernel_size=3), partial(GaborConv3d, kernel_size=7)
    own, source = network(large), network(small)
    done = transfer(own, trained(source), convolution=large)
    assert (done.new, done.left_out) == ({}, {})
    mine, theirs = (n.decoder[0].units[0][0].kernel() for n in (own, source))
    torch.testing.assert_close(mine[..., 2:5, 2:5, 2:5], theirs)


@pytest.mark.parametrize("scale", ["raw", "log", "softplus"])
def test_kernels_are_the_same_however_their_parameters_are_stored(scale: str) -> None:
    stored = partial(GaborConv3d, rates=TENFOLD, sigma_scale=scale)
    own, source = network(stored), network(GaborConv3d)
    source.encoder[1].units[0][0].gabor[0] *= -1  # widths, in which kernels are even
    transfer(own, trained(source), convolution=stored)
    for mine, theirs in zip(own.modules(), source.modules(), strict=True):
        if isinstance(mine, GaborConv3d) and isinstance(theirs, GaborConv3d):
            torch.testing.assert_close(mine.kernel(), theirs.kernel(), rtol=1e-4, atol=1e-5)


def test_conventional_kernels_of_another_size_stay() -> None:
    wide = partial(ConventionalConv3d, kernel_size=5)
    own, source = network(wide), network()
    before = own.encoder[0].units[0][0].weight.clone()
    done = transfer(own, trained(source), convolution=wide)
    assert torch.equal(own.encoder[0].units[0][0].weight, before)
    assert done.new["encoder.0.units.0.0.weight"] == 4 * 5**3
    assert done.left_out["encoder.0.units.0.0.weight"] == 4 * 3**3
    assert torch.equal(own.encoder[0].shortcut[0].weight, source.encoder[0].shortcut[0].weight)


@pytest.mark.parametrize("there", [ConventionalConv3d, GeneralGaborConv3d])
def test_kernels_of_another_kind_stay(there: type[nn.Module]) -> None:
    own = network(GaborConv3d)
    before = own.encoder[0].units[0][0].gabor.clone()
    transfer(own, trained(network(there)), convolution=GaborConv3d)
    assert torch.equal(own.encoder[0].units[0][0].gabor, before)


def test_kernels_of_another_part_of_the_general_equation_stay() -> None:
    real, both = (partial(GeneralGaborConv3d, part=part) for part in ("real", "both"))
    done = transfer(network(real), trained(network(both)), convolution=real)
    assert "encoder.0.units.0.0.gabor" in {*done.new} & {*done.left_out}


def test_what_the_random_generator_draws_next_is_not_changed() -> None:
    own, source = network(), trained(network())
    before = torch.get_rng_state()
    transfer(own, source)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_network_in_which_nothing_has_a_place_is_refused() -> None:
    source = trained(nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(ValueError, match=r"nothing of source\.ckpt has a place in this network"):
        transfer(network(), source)


class Square(nn.Module):
    """A tensor that follows channels and classes, and one that follows the classes twice."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(in_channels, num_classes, 1, bias=False)
        self.last = nn.Conv3d(num_classes, num_classes, 1, bias=False)


def test_axes_of_channels_and_classes_may_be_in_one_tensor() -> None:
    own, source = Square(2, 3), Square(1, 3)
    before = {name: value.clone() for name, value in own.state_dict().items()}
    done = take_over(
        own,
        trained(source, "a b"),
        structures=["b", "c"],
        channels=["FLAIR", "T1w"],
        rebuild=Square,
    )
    first, last = source.first.weight, source.last.weight
    assert torch.equal(own.first.weight[:2], first[[0, 2]].expand(2, 2, 1, 1, 1))
    assert torch.equal(own.first.weight[2], before["first.weight"][2])
    assert torch.equal(own.last.weight[:2, :2], last[[0, 2]][:, [0, 2]])
    assert torch.equal(own.last.weight[2], before["last.weight"][2])
    assert (done.new, done.left_out) == (
        {"first.weight": 2, "last.weight": 5},
        {"first.weight": 1, "last.weight": 5},
    )
