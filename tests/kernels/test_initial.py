import math
from typing import get_args

import pytest
import torch
from scipy import stats
from torch import Tensor

from src.kernels import (
    GENERAL_PARAMETERS,
    PARAMETERS,
    Part,
    gabor_kernel,
    general_gabor_kernel,
    initial_gabor,
    initial_general_gabor,
)


def many(in_channels: int = 40, out_channels: int = 50, kernel_size: int = 7) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(0)
    parameters = initial_gabor(in_channels, out_channels, kernel_size, draw)
    return dict(zip(PARAMETERS, parameters, strict=True))


@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7, 9])
def test_every_pair_has_an_equal_share_of_the_energy(kernel_size: int) -> None:
    kernel = gabor_kernel(initial_gabor(6, 5, kernel_size), kernel_size)
    energy = kernel.square().sum(dim=(2, 3, 4))
    torch.testing.assert_close(energy, torch.full((5, 6), 2 / 6))


@pytest.mark.parametrize("part", get_args(Part))
def test_every_general_pair_has_an_equal_share_of_the_energy(part: Part) -> None:
    kernel = general_gabor_kernel(initial_general_gabor(6, 5, 7, part), 7, part)
    torch.testing.assert_close(kernel.square().sum(dim=(2, 3, 4)), torch.full((5, 6), 2 / 6))


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("sigma", 1, 7 / 3),
        ("theta_z", 0, 2 * math.pi),
        ("frequency_re", 0, 0.3),
        ("frequency_im", 0, 0.3),
        ("phase", 0, 2 * math.pi),
    ],
)
def test_draws_are_uniform_over_their_range(name: str, low: float, high: float) -> None:
    values = many()[name].flatten().numpy()
    assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-3


def test_directions_are_uniform_on_the_sphere() -> None:
    values = many()
    y, z = values["theta_y"], values["theta_z"]
    for coordinate in (y.cos() * z.cos(), -y.cos() * z.sin(), y.sin()):
        assert stats.kstest(coordinate.flatten().numpy(), stats.uniform(-1, 2).cdf).pvalue > 1e-3


def test_amplitudes_have_either_sign() -> None:
    values = many()
    for name in ("amplitude_re", "amplitude_im"):
        assert (values[name] > 0).float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_small_kernels_start_one_voxel_wide() -> None:
    assert torch.equal(many(kernel_size=3)["sigma"], torch.ones(40, 50))


def test_general_sigmas_and_angles_are_drawn_one_by_one() -> None:
    parameters = initial_general_gabor(4, 4, 7)
    assert parameters.shape == (len(GENERAL_PARAMETERS), 4, 4)
    assert parameters.flatten(1).unique(dim=0).shape[0] == len(GENERAL_PARAMETERS)


def test_noise_keeps_the_energy_of_kaiming() -> None:
    torch.manual_seed(0)
    noise = torch.randn(1, 8, 14, 14, 14)
    kernel = gabor_kernel(initial_gabor(8, 64, 7), 7)
    output = torch.nn.functional.conv3d(noise, kernel)
    assert output.square().mean().item() == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("initial", [initial_gabor, initial_general_gabor])
def test_global_seed_decides_the_draw(initial) -> None:
    draws = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        draws.append(initial(2, 3, 5))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_generator_leaves_the_global_seed_alone() -> None:
    before = torch.get_rng_state()
    initial_gabor(2, 3, 5, torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("initial", [initial_gabor, initial_general_gabor])
@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((0, 2, 3), "in_channels must be at least 1, got 0"),
        ((2, -1, 3), "out_channels must be at least 1, got -1"),
        ((2, 2, 4), "kernel_size must be odd and positive, got 4"),
    ],
)
def test_impossible_sizes_are_refused(initial, sizes: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        initial(*sizes)
