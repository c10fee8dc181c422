from typing import get_args

import pytest
import torch
from torch import nn

from gaborseg.layers import GaborConv3d, GeneralGaborConv3d
from gaborseg.layers.gabor import PARAMETERS
from gaborseg.layers.general_gabor import GENERAL_PARAMETERS
from gaborseg.layers.storage import KINDS, ParameterStorage, SigmaScale

RATES = {"sigma": 10, "theta": 4, "amplitude": 0.5, "frequency": 2, "phase": 8}
SCALES = pytest.mark.parametrize("scale", get_args(SigmaScale))


def positive(rows: int) -> torch.Tensor:
    return torch.rand(rows, 3, 4) + 0.1


@SCALES
@pytest.mark.parametrize("names", [PARAMETERS, GENERAL_PARAMETERS])
def test_what_is_stored_comes_back(names: tuple[str, ...], scale: SigmaScale) -> None:
    storage, parameters = ParameterStorage(names, RATES, scale), positive(len(names))
    torch.testing.assert_close(storage(storage.inverse(parameters)), parameters)


@pytest.mark.parametrize(
    ("scale", "stored"), [("raw", 0.5), ("log", -0.6931472), ("softplus", -0.4327521)]
)
def test_sigma_is_stored_on_its_scale(scale: SigmaScale, stored: float) -> None:
    storage = ParameterStorage(PARAMETERS, {}, scale)
    parameters = torch.full((8, 1, 1), 0.5)
    wanted = torch.tensor([stored, *[0.5] * 7]).view(8, 1, 1)
    torch.testing.assert_close(storage.inverse(parameters), wanted)


@SCALES
def test_only_widths_are_on_the_scale_of_sigma(scale: SigmaScale) -> None:
    storage, stored = ParameterStorage(GENERAL_PARAMETERS, {}, scale), torch.zeros(9, 1, 1)
    width = {"raw": 0, "log": 1, "softplus": 0.6931472}[scale]
    torch.testing.assert_close(storage(stored).flatten(), torch.tensor([width] * 3 + [0.0] * 6))


@pytest.mark.parametrize("scale", ["log", "softplus"])
def test_stored_widths_may_be_any_number(scale: SigmaScale) -> None:
    stored = torch.linspace(-20, 20, 9).expand(8, 1, 9)
    sigma = ParameterStorage(PARAMETERS, {}, scale)(stored)[0]
    assert (sigma > 0).all()
    assert sigma.isfinite().all()


def test_equal_rates_store_the_parameters_themselves() -> None:
    storage, parameters = ParameterStorage(PARAMETERS, dict.fromkeys(KINDS, 1)), positive(8)
    assert torch.equal(storage.inverse(parameters), parameters)
    assert storage(parameters) is parameters


@pytest.mark.parametrize("kind", [GaborConv3d, GeneralGaborConv3d])
def test_a_step_moves_each_kind_by_its_rate(kind: type[GaborConv3d | GeneralGaborConv3d]) -> None:
    layer = kind(2, 3, rates=RATES).double()
    before = layer.parameters_by_name()
    optimizer = torch.optim.NAdam(layer.parameters(), lr=1e-4)
    layer(torch.randn(1, 2, 8, 8, 8).double()).square().sum().backward()
    optimizer.step()
    after = layer.parameters_by_name()
    moved = torch.stack([(after[name] - before[name]).abs() / rate_of(name) for name in before])
    torch.testing.assert_close(moved, moved[0, 0, 0].expand_as(moved), rtol=1e-4, atol=0)
    assert moved[0, 0, 0] > 1e-5


def rate_of(name: str) -> float:
    return RATES[name.partition("_")[0]]


@SCALES
def test_kernels_start_the_same_however_they_are_stored(scale: SigmaScale) -> None:
    kernels = []
    for options in ({}, {"rates": RATES, "sigma_scale": scale}):
        torch.manual_seed(0)
        kernels.append(GaborConv3d(2, 3, **options).kernel())
    torch.testing.assert_close(kernels[1], kernels[0])


@SCALES
def test_layer_convolves_with_the_kernel_that_it_shows(scale: SigmaScale) -> None:
    layer, volume = GaborConv3d(2, 3, rates=RATES, sigma_scale=scale), torch.randn(1, 2, 6, 7, 8)
    want = nn.functional.conv3d(volume, layer.kernel(), padding=3)
    torch.testing.assert_close(layer(volume), want, rtol=1e-5, atol=1e-5)


def test_weights_have_the_same_names_however_they_are_stored() -> None:
    assert list(GaborConv3d(2, 3, rates=RATES).state_dict()) == ["gabor"]


def test_gradients_are_those_of_finite_differences() -> None:
    storage = ParameterStorage(PARAMETERS, RATES, "softplus").double()
    stored = torch.randn(8, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(storage, stored)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rates": {"width": 2}}, "rates must be of sigma, theta, .*, got 'width'"),
        ({"rates": {"sigma": 0}}, "the rate of sigma must be positive and at most 1000, got 0"),
        ({"rates": {"phase": float("inf")}}, "the rate of phase .*, got inf"),
        ({"rates": {"phase": "fast"}}, "the rate of phase .*, got 'fast'"),
        ({"sigma_scale": "exp"}, "sigma_scale must be one of raw, log, softplus, got 'exp'"),
    ],
)
def test_impossible_storage_is_refused(options: dict, message: str) -> None:
    for kind in (GaborConv3d, GeneralGaborConv3d):
        with pytest.raises(ValueError, match=message):
            kind(2, 3, **options)


@SCALES
@pytest.mark.parametrize("stored", [-1e4, 1e4])
@pytest.mark.parametrize("kind", [GaborConv3d, GeneralGaborConv3d])
def test_gradients_are_numbers_however_far_widths_have_gone(
    kind: type[GaborConv3d | GeneralGaborConv3d], scale: SigmaScale, stored: float
) -> None:
    layer = kind(1, 1, 3, rates={"sigma": 10}, sigma_scale=scale)
    with torch.no_grad():
        layer.gabor[0] = stored
    layer.kernel().square().sum().backward()
    assert layer.gabor.grad is not None
    assert layer.gabor.grad.isfinite().all()
