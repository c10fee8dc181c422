"""Kernels for volumes that are sampled more finely than those they were trained on."""

import math

import pytest
import torch
from torch import Tensor

from gaborseg import GaborConv3d, GeneralGaborConv3d, ParametricConv3d

SIDE, SIGMA, FREQUENCY = 21, 0.8, 0.1
WAVE = (0.04, -0.02, 0.05)
"""Cycles per coarse voxel along each axis, far below the Nyquist frequency."""


def sampled(finely: int) -> Tensor:
    """A plane wave at every voxel of a cube, whose corners stay where they are."""
    places = torch.arange(0, SIDE - 1 + 1e-6, 1 / finely, dtype=torch.float64)
    x, y, z = torch.meshgrid(places, places, places, indexing="ij")
    return torch.cos(2 * math.pi * (WAVE[0] * x + WAVE[1] * y + WAVE[2] * z))[None, None]


def layer_of(parameters: Tensor) -> GaborConv3d:
    layer = GaborConv3d(*parameters.shape[1:]).double()
    with torch.no_grad():
        layer.gabor.copy_(parameters)
    return layer


def smooth_layer() -> GaborConv3d:
    """Kernels that are narrower than their grid and smoother than it resolves."""
    angles = torch.rand(2, 1, 4, dtype=torch.float64) * 2 * math.pi
    rows = [torch.full((1, 4), SIGMA), *angles, *torch.rand(2, 1, 4)]
    rows += [torch.full((1, 4), FREQUENCY), torch.full((1, 4), FREQUENCY / 2), angles[0]]
    return layer_of(torch.stack([row.double() for row in rows]))


def test_a_smooth_volume_sampled_twice_as_finely_gives_the_same_features() -> None:
    layer = smooth_layer()
    coarse = layer(sampled(1))
    layer.rescale(2)
    fine = layer(sampled(2))[..., ::2, ::2, ::2]
    inside = (slice(None), slice(None), *3 * [slice(3, -3)])
    torch.testing.assert_close(fine[inside], coarse[inside], rtol=0, atol=5e-3)
    assert coarse[inside].abs().max() > 0.5


def test_a_kernel_is_wider_and_lower() -> None:
    layer = smooth_layer()
    before = layer.kernel()
    layer.rescale(2)
    after = layer.kernel()
    assert after.shape[2:] == (13, 13, 13)
    torch.testing.assert_close(after[..., ::2, ::2, ::2], before / 8)


@pytest.mark.parametrize("kind", [GaborConv3d, GeneralGaborConv3d])
def test_the_scale_of_the_training_gives_the_kernels_back(kind: type[ParametricConv3d]) -> None:
    layer = kind(2, 3, 5, rates={"sigma": 10}, sigma_scale="log")
    before = layer.kernel()
    layer.rescale(3)
    assert layer.kernel_size == 13
    layer.rescale(2)
    assert layer.kernel_size == 9
    layer.rescale(1)
    torch.testing.assert_close(layer.kernel(), before, rtol=0, atol=0)


def test_what_is_stored_and_trained_stays() -> None:
    layer = GaborConv3d(1, 2)
    before = layer.gabor.detach().clone()
    layer.rescale(2)
    layer(torch.randn(1, 1, 8, 8, 8)).square().sum().backward()
    assert torch.equal(layer.gabor, before)
    assert layer.gabor.grad is not None
    assert layer.gabor.grad.abs().max() > 0


def test_a_scaled_layer_is_exported_as_it_computes() -> None:
    layer, x = GaborConv3d(1, 2), torch.randn(1, 1, 9, 8, 7)
    layer.rescale(2)
    torch.testing.assert_close(layer.to_conv3d()(x), layer(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [0, -1, 1.5, "2"])
def test_a_scale_is_a_positive_integer(scale: object) -> None:
    with pytest.raises(ValueError, match=f"scale must be a positive integer, got {scale!r}"):
        GaborConv3d(1, 1).rescale(scale)


class _Shift(ParametricConv3d):
    names = ("offset_x",)


def test_parameters_of_an_unknown_unit_are_named() -> None:
    layer = _Shift(torch.ones(1, 1, 1), 3)
    layer.rescale(1)
    with pytest.raises(ValueError, match=r"scale must be 1 for kernels .* got 2 for offset$"):
        layer.rescale(2)
