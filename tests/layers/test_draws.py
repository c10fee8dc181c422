import math
from typing import get_args

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from gaborseg.layers import gabor_kernel, initial_gabor
from gaborseg.layers.draws import InitialScheme
from gaborseg.layers.gabor import PARAMETERS
from gaborseg.layers.general_gabor import (
    GENERAL_PARAMETERS,
    Part,
    general_gabor_kernel,
    initial_general_gabor,
)

SCHEMES = pytest.mark.parametrize("scheme", get_args(InitialScheme))


def many(
    in_channels: int = 40,
    out_channels: int = 50,
    kernel_size: int = 7,
    scheme: InitialScheme = "uniform",
) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(0)
    parameters = initial_gabor(in_channels, out_channels, kernel_size, scheme, draw)
    return dict(zip(PARAMETERS, parameters, strict=True))


@SCHEMES
@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7, 9])
def test_every_pair_has_an_equal_share_of_the_energy(
    kernel_size: int, scheme: InitialScheme
) -> None:
    kernel = gabor_kernel(initial_gabor(6, 5, kernel_size, scheme), kernel_size)
    energy = kernel.square().sum(dim=(2, 3, 4))
    torch.testing.assert_close(energy, torch.full((5, 6), 2 / 6))


@SCHEMES
@pytest.mark.parametrize("part", get_args(Part))
def test_every_general_pair_has_an_equal_share_of_the_energy(
    part: Part, scheme: InitialScheme
) -> None:
    kernel = general_gabor_kernel(initial_general_gabor(6, 5, 7, part, scheme), 7, part)
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


@pytest.mark.parametrize("scheme", ["uniform", "log_spaced", "quadrature"])
def test_directions_are_uniform_on_the_sphere(scheme: InitialScheme) -> None:
    values = {name: value[:, ::2] for name, value in many(scheme=scheme).items()}
    y, z = values["theta_y"], values["theta_z"]
    for coordinate in (y.cos() * z.cos(), -y.cos() * z.sin(), y.sin()):
        assert stats.kstest(coordinate.flatten().numpy(), stats.uniform(-1, 2).cdf).pvalue > 1e-3


def test_amplitudes_have_either_sign() -> None:
    values = many()
    for name in ("amplitude_re", "amplitude_im"):
        assert (values[name] > 0).float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_log_spaced_kernels_have_one_bandwidth() -> None:
    values = many(scheme="log_spaced")
    sigma, frequency = values["sigma"], values["frequency_re"]
    assert torch.equal(frequency, values["frequency_im"])
    octaves = half_maximum_octaves(sigma, frequency)
    torch.testing.assert_close(octaves, torch.ones_like(octaves))
    assert frequency.max() < 0.5
    spread = stats.uniform(math.log(1.1243), math.log(7 / 3 / 1.1243)).cdf
    assert stats.kstest(sigma.log().flatten().numpy(), spread).pvalue > 1e-3


def half_maximum_octaves(sigma: Tensor, frequency: Tensor) -> Tensor:
    """Of a Gaussian spectrum of width 1 / (2 pi sigma) around the frequency."""
    half = math.sqrt(2 * math.log(2)) / (2 * math.pi * sigma)
    return torch.log2((frequency + half) / (frequency - half))


@pytest.mark.parametrize("out_channels", [1, 4, 5])
def test_quadrature_pairs_differ_by_a_quarter_turn(out_channels: int) -> None:
    parameters = initial_gabor(3, out_channels, 7, "quadrature").double()
    first, second = parameters[:, :, : out_channels // 2 * 2 : 2], parameters[:, :, 1::2]
    late = first.clone()
    late[7] += math.pi / 2
    late, second = gabor_kernel(late, 7), gabor_kernel(second, 7)
    energy = late.square().sum(dim=(2, 3, 4), keepdim=True)
    late = late * (2 / 3 / energy).sqrt()
    torch.testing.assert_close(second, late, rtol=1e-6, atol=1e-6)


def test_kaiming_kernels_have_the_spectral_peaks_of_normal_taps() -> None:
    torch.manual_seed(0)
    kernel = gabor_kernel(initial_gabor(5, 6, 7, "kaiming"), 7).transpose(0, 1)
    torch.manual_seed(0)
    taps = torch.randn(5, 6, 3, 3, 3).double().numpy()
    spectrum = np.fft.fftn(np.pad(taps, [(0, 0)] * 2 + [(2, 2)] * 3), (16,) * 3, axes=(2, 3, 4))
    found = np.fft.fftn(kernel.double().numpy(), (16,) * 3, axes=(2, 3, 4))
    at_peak = np.abs(spectrum).reshape(5, 6, -1).argmax(axis=-1)[..., None]
    wanted, got = (np.take_along_axis(s.reshape(5, 6, -1), at_peak, -1) for s in (spectrum, found))
    off = np.angle(got / wanted)
    assert np.abs(off).max() < 0.2
    assert (np.abs(got) > 0.9 * np.abs(found).reshape(5, 6, -1).max(-1, keepdims=True)).all()


def test_white_waves_fill_all_that_the_grid_can_hold() -> None:
    values = many(scheme="white")
    y, z, frequency = values["theta_y"], values["theta_z"], values["frequency_re"]
    for coordinate in (y.cos() * z.cos(), -y.cos() * z.sin(), y.sin()):
        wave = (frequency * coordinate).flatten().numpy()
        assert stats.kstest(wave, stats.uniform(-0.5, 1).cdf).pvalue > 1e-3
    assert torch.equal(frequency, values["frequency_im"])


def test_white_kernels_have_a_flat_spectrum_on_average() -> None:
    torch.manual_seed(0)
    kernel = gabor_kernel(initial_gabor(60, 60, 7, "white"), 7)
    power = torch.fft.fftn(kernel, dim=(2, 3, 4)).abs().square().mean(dim=(0, 1))
    assert power.std() < 0.05 * power.mean()


def test_small_kernels_start_one_voxel_wide() -> None:
    assert torch.equal(many(kernel_size=3)["sigma"], torch.ones(40, 50))


@pytest.mark.parametrize("part", get_args(Part))
def test_general_kernels_of_one_width_are_those_of_equation_two(part: Part) -> None:
    kernels = []
    for initial, kernel, more in (
        (initial_gabor, gabor_kernel, ()),
        (initial_general_gabor, general_gabor_kernel, (part,)),
    ):
        draw = torch.Generator().manual_seed(0)
        parameters = initial(4, 4, 7, *more, scheme="kaiming", generator=draw)
        kernels.append(kernel(parameters, 7, *more))
    torch.testing.assert_close(kernels[1], kernels[0])


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
    initial_gabor(2, 3, 5, generator=torch.Generator().manual_seed(0))
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


def test_unknown_schemes_are_refused() -> None:
    message = "initial must be one of uniform, log_spaced, quadrature, kaiming, white, got 'ones'"
    for initial in (initial_gabor, initial_general_gabor):
        with pytest.raises(ValueError, match=message):
            initial(2, 3, 7, scheme="ones")
