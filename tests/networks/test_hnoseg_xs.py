import math

import pytest
import torch
from torch import Tensor, nn

from config import compose_config
from gaborseg.interface import build
from gaborseg.networks import HNOSegXS, parameter_counts
from gaborseg.networks.hnoseg_xs import hartley, inverse_hartley

ODD = (5, 3, 7)
ALL = (2, 1, 3)
"""Every mode of a volume of the size ODD."""


def small_network(**options: object) -> HNOSegXS:
    return HNOSegXS(1, 3, **({"filters": 4, "blocks": (2, 1, 2, 2), "modes": (3, 3, 3)} | options))


def random_volume(*size: int) -> Tensor:
    return torch.randn(2, 3, *size, dtype=torch.float64)


def in_order_of_fft(coefficients: Tensor) -> Tensor:
    return torch.fft.ifftshift(coefficients, dim=(2, 3, 4))


def test_the_transform_twice_is_the_volume_times_its_voxels() -> None:
    volume, count = random_volume(*ODD), math.prod(ODD)
    once = in_order_of_fft(hartley(volume, ALL)) * count
    twice = in_order_of_fft(hartley(once, ALL)) * count
    torch.testing.assert_close(twice, volume * count)


def test_coefficients_are_real_minus_imaginary_parts_of_a_fourier_transform() -> None:
    volume = random_volume(8, 5, 6)
    fourier = torch.fft.fftn(volume, dim=(2, 3, 4), norm="forward")
    wanted = torch.fft.fftshift(fourier.real - fourier.imag, dim=(2, 3, 4))
    found = hartley(volume, (2, 1, 2))
    torch.testing.assert_close(found, wanted[:, :, 2:7, 1:4, 1:6])


def test_the_inverse_gives_the_volume_back() -> None:
    volume = random_volume(*ODD)
    torch.testing.assert_close(inverse_hartley(hartley(volume, ALL), ODD), volume)


def test_a_constant_volume_has_its_value_at_frequency_0_alone() -> None:
    coefficients = hartley(torch.full((1, 1, 6, 4, 9), 2.5, dtype=torch.float64), (2, 1, 3))
    wanted = torch.zeros_like(coefficients)
    wanted[..., 2, 1, 3] = 2.5
    torch.testing.assert_close(coefficients, wanted)


def test_a_volume_that_resolves_fewer_modes_has_all_it_resolves() -> None:
    assert hartley(torch.randn(1, 1, 9, 8, 1), (14, 14, 14)).shape == (1, 1, 9, 7, 1)


def test_mixing_channels_of_coefficients_follows_a_translation() -> None:
    volume, weights = random_volume(9, 8, 7), torch.randn(4, 3, dtype=torch.float64)

    def mixed(x: Tensor) -> Tensor:
        coefficients = torch.einsum("oi,bixyz->boxyz", weights, hartley(x, (3, 2, 2)))
        return inverse_hartley(coefficients, x.shape[2:])

    moved = volume.roll((2, 3, 1), dims=(2, 3, 4))
    torch.testing.assert_close(mixed(moved), mixed(volume).roll((2, 3, 1), dims=(2, 3, 4)))


def test_a_smooth_volume_has_the_same_coefficients_at_twice_the_resolution() -> None:
    coefficients = torch.randn(1, 2, 5, 5, 5, dtype=torch.float64)
    for side in (5, 10):
        volume = inverse_hartley(coefficients, (side,) * 3)
        torch.testing.assert_close(hartley(volume, (2, 2, 2)), coefficients)


def test_the_published_configuration_has_the_published_number_of_parameters() -> None:
    counts = parameter_counts(HNOSegXS(4, 4, filters=24, blocks=[3] * 8, modes=(10, 14, 14)))
    assert sum(counts.values()) == 28_248
    assert counts["conventional"] == 8 * 24 * (4 + 4) + 24
    assert counts["pointwise"] == 24 * 24 * (8 * 3 + 3) + 8 * 24 * (48 + 1) + 3 * 24 * 24


def test_the_option_has_the_published_configuration() -> None:
    network = build(compose_config(["network=hnoseg_xs"]).network, in_channels=4, num_classes=4)
    assert sum(p.numel() for p in network.parameters()) == 28_248


def test_the_number_of_parameters_does_not_depend_on_the_modes() -> None:
    few, many = (small_network(modes=(modes,) * 3) for modes in (1, 20))
    assert parameter_counts(few) == parameter_counts(many)


@pytest.mark.parametrize("shape", [(16, 16, 16), (17, 5, 31), (2, 3, 1), (1, 1, 1)])
@pytest.mark.parametrize("deep_supervision", [False, True])
def test_any_size_comes_back(shape: tuple[int, int, int], deep_supervision: bool) -> None:
    logits = small_network(deep_supervision=deep_supervision)(torch.randn(2, 1, *shape))
    assert logits.shape == (2, 3, *shape)
    assert logits.isfinite().all()


@pytest.mark.parametrize("deep_supervision", [False, True])
def test_every_parameter_gets_a_gradient(deep_supervision: bool) -> None:
    network = small_network(deep_supervision=deep_supervision)
    network(torch.randn(1, 1, 8, 8, 8)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters())


def test_logits_of_all_blocks_are_summed_under_deep_supervision() -> None:
    network, outputs = small_network(deep_supervision=True), []
    for block in network.blocks:
        block.register_forward_hook(lambda _, __, output: outputs.append(output))
    logits = network(torch.randn(1, 1, 8, 8, 8))
    weights = network.score.weight.split(4)
    parts = [
        nn.functional.conv_transpose3d(output, weight, stride=2)
        for output, weight in zip(outputs, weights, strict=True)
    ]
    torch.testing.assert_close(logits, sum(parts))


def test_gradients_are_those_of_finite_differences() -> None:
    network = small_network(filters=2, blocks=(1, 2)).double()
    image = torch.randn(1, 1, 4, 4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(network, (image,))


def test_features_keep_their_spread_from_block_to_block() -> None:
    torch.manual_seed(0)
    network, spread = HNOSegXS(1, 20), []
    for block in network.blocks:
        block.register_forward_hook(lambda _, __, output: spread.append(float(output.std())))
    with torch.no_grad():
        network(torch.randn(1, 1, 16, 16, 16))
    assert min(spread) > 0.2
    assert max(spread) < 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": 0}, "filters must be at least 1, got 0"),
        ({"blocks": ()}, r"blocks must be positive numbers, got \[\]"),
        ({"blocks": (3, 0)}, r"blocks must be positive numbers, got \[3, 0\]"),
        ({"modes": (3, 3)}, r"modes must be three numbers, 0 or more, got \[3, 3\]"),
        ({"modes": (3, 3, -1)}, r"modes must be three numbers, 0 or more, got \[3, 3, -1\]"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small_network(**options)


@pytest.mark.parametrize(("channels", "classes"), [(0, 3), (1, 1)])
def test_counts_must_make_sense(channels: int, classes: int) -> None:
    with pytest.raises(ValueError, match=r"(in_channels|num_classes) must be"):
        HNOSegXS(channels, classes)
