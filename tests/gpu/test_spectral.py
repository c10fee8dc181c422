"""Gabor convolution by spectra, its kernels and their gradients, against float64 on the CPU."""

import logging

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from gabor_reference import hard_parameters
from gaborseg.gpu import spectra, taps, trust
from gaborseg.layers import GaborConv3d, grid, spectral_gpu
from gaborseg.layers.portable import portable_conv3d
from on_gpu import DEVICE, error, needs_triton

NAMES = ("sigma", "theta_y", "theta_z", "A_re", "A_im", "f_re", "f_im", "phase")
BY_SPECTRA = spectral_gpu.SpectralGpuConv3d.apply

interpreted = pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:invalid value")


def case(
    samples: int, inputs: int, outputs: int, size: tuple[int, ...], seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Volumes and parameters in float64."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, inputs, *size, generator=draw).double()
    return x, hard_parameters(inputs, outputs, seed)


def results(convolve, x: Tensor, parameters: Tensor, kernel_size: int) -> dict[str, Tensor]:  # type: ignore[no-untyped-def]
    """What a convolution gives: volumes, and the gradients by x and by each kind of parameter."""
    leaves = x.clone().requires_grad_(), parameters.clone().requires_grad_()
    y = convolve(*leaves, kernel_size)
    draw = torch.Generator().manual_seed(9)
    grad = torch.randn(y.shape, generator=draw, dtype=torch.float64).to(y)
    by_x, by_parameters = torch.autograd.grad(y, leaves, grad)
    named = dict(zip(NAMES, by_parameters, strict=True))
    return {"y": y.detach(), "x": by_x} | named


def errors(x: Tensor, parameters: Tensor, kernel_size: int) -> dict[str, float]:
    """The error of each result in float32."""
    single = x.float().to(DEVICE), parameters.float().to(DEVICE)
    got = results(BY_SPECTRA, *single, kernel_size)
    want = results(portable_conv3d, x, parameters, kernel_size)
    return {name: error(got[name].cpu().double(), want[name]) for name in want}


def assert_exact(found: dict[str, float]) -> None:
    assert max(found.pop("y"), found.pop("x")) < 1e-6
    assert max(found.values()) < 3e-6, found


@needs_triton
@interpreted
@pytest.mark.parametrize(
    ("channels", "size", "kernel_size"),
    [
        ((1, 2, 5), (4, 6, 5), 7),
        ((2, 2, 3), (5, 4, 6), 5),
        ((1, 1, 6), (1, 1, 1), 7),
        ((2, 3, 1), (4, 2, 2), 11),
        ((1, 2, 3), (4, 5, 6), 9),
    ],
)
def test_volumes_and_all_gradients_are_exact(
    channels: tuple[int, int, int], size: tuple[int, int, int], kernel_size: int
) -> None:
    assert_exact(errors(*case(*channels, size), kernel_size))


@needs_triton
@interpreted
@settings(max_examples=3, deadline=None)
@given(
    channels=st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(4, 5)),
    size=st.tuples(*[st.integers(2, 6)] * 3),
    kernel_size=st.sampled_from([3, 5]),
    seed=st.integers(0, 99),
)
def test_any_shape_is_exact(
    channels: tuple[int, int, int], size: tuple[int, int, int], kernel_size: int, seed: int
) -> None:
    assert_exact(errors(*case(*channels, size, seed), kernel_size))


@needs_triton
def test_the_gradient_by_taps_is_that_of_a_convolution_with_any_kernels() -> None:
    size, kernel_size = (6, 3, 9), 5
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    kernels = torch.zeros(6, 3, *[kernel_size] * 3, dtype=torch.float64, requires_grad=True)
    y = F.conv3d(x, kernels, padding="same")
    grad = torch.randn_like(y)
    (want,) = torch.autograd.grad(y, kernels, grad)
    period = spectra.periods(size, kernel_size)
    outputs, inputs = (
        torch.fft.rfftn(volumes.float().to(DEVICE), s=period, dim=(2, 3, 4))
        for volumes in (grad, x)
    )
    got = taps.tap_gradient(outputs, inputs, size, kernel_size)
    assert error(got.cpu().double(), want) < 1e-6


@needs_triton
def test_a_coarse_gradient_has_eleven_digits() -> None:
    x, parameters = case(1, 2, 3, (6, 5, 4))
    got = results(BY_SPECTRA, x.bfloat16().to(DEVICE), parameters.float().to(DEVICE), 7)
    want = results(portable_conv3d, x.bfloat16().double(), parameters, 7)
    assert got["y"].dtype == got["x"].dtype == torch.bfloat16
    assert got["sigma"].dtype == torch.float32
    assert max(error(got[name].cpu().double(), want[name]) for name in want) < 2e-2


@needs_triton
def test_the_same_comes_out_every_time() -> None:
    single = [tensor.float().to(DEVICE) for tensor in case(1, 3, 5, (3, 2, 3))]
    first, second = (results(BY_SPECTRA, *single, 5) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@needs_triton
@interpreted
@pytest.mark.parametrize("row", range(8), ids=NAMES)
def test_not_a_number_is_not_hidden(row: int) -> None:
    x, parameters = case(1, 1, 2, (4, 4, 4))
    parameters[0], parameters[row, 0, 0] = 1, torch.nan
    y = BY_SPECTRA(x.float().to(DEVICE), parameters.float().to(DEVICE), 3)
    assert y[:, 0].isnan().all()
    assert y[:, 1].isfinite().all()


@needs_triton
def test_kernels_that_agree_are_trusted() -> None:
    assert trust.trusted.__wrapped__(spectral_gpu._CHECK, DEVICE)


@needs_triton
def test_kernels_that_disagree_are_not_and_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = spectra.multiply
    monkeypatch.setattr(spectra, "multiply", lambda *args, **kwargs: 1.01 * wrong(*args, **kwargs))
    with caplog.at_level(logging.WARNING):
        assert not trust.trusted.__wrapped__(spectral_gpu._CHECK, DEVICE)
    (line,) = caplog.messages
    assert line.startswith("Gabor convolution by spectra on")
    assert "Triton's kernel differs by" in line


def test_lengths_have_small_factors_and_the_last_an_even_number_of_columns() -> None:
    assert [spectra.periods([side] * 3, 7) for side in (128, 64, 32, 16, 8)] == [
        (132, 132, 135),
        (70, 70, 70),
        (35, 35, 35),
        (20, 20, 22),
        (11, 11, 11),
    ]


@given(st.tuples(*[st.integers(1, 200)] * 3), st.sampled_from([1, 3, 7, 11]))
def test_what_wraps_around_lands_in_the_padding(size: tuple[int, ...], kernel_size: int) -> None:
    period = spectra.periods(size, kernel_size)
    least = [length + spectra.radius_within(length, kernel_size) for length in size]
    assert all(n >= m for n, m in zip(period, least, strict=True))
    assert (period[2] // 2 + 1) % 2 == 0


def test_both_rooms_cut_off_widths_alike() -> None:
    from gaborseg.gpu.sizes import SMALLEST_SIGMA

    assert SMALLEST_SIGMA == grid.SMALLEST_SIGMA


def test_on_a_cpu_nothing_goes_by_spectra_of_a_gpu() -> None:
    assert not spectral_gpu.goes_by_spectra(torch.zeros(1, 1, 4, 4, 4), GaborConv3d(1, 2).gabor, 7)
