"""What every kernel of a user's own inherits."""

import pytest
import torch
from torch import Tensor, nn

from gaborseg import GaborConv3d, ParametricConv3d
from gaborseg.networks import parameter_counts


class Box(ParametricConv3d):
    """A box of one height and one offset for each pair."""

    names, kind = ("height", "offset_x"), "box"

    def synthesise(self, parameters: Tensor) -> Tensor:
        height, offset = parameters.mT[..., None, None, None]
        return (height + offset).expand(-1, -1, *3 * [self.kernel_size])


def test_a_kernel_is_all_that_a_subclass_computes() -> None:
    layer, x = Box(torch.rand(2, 3, 4), 3, bias=True), torch.randn(2, 3, 5, 4, 6)
    torch.testing.assert_close(layer(x), nn.functional.conv3d(x, layer.kernel(), padding=1))
    torch.testing.assert_close(layer.to_conv3d()(x), layer(x))
    assert {name: value.shape for name, value in layer.parameters_by_name().items()} == {
        "height": (3, 4),
        "offset_x": (3, 4),
    }


def test_its_parameters_are_counted_as_its_own_kind() -> None:
    counts = parameter_counts(nn.Sequential(Box(torch.rand(2, 3, 4), 3), nn.Conv3d(4, 2, 1)))
    assert counts["box"] == 24
    assert counts["pointwise"] == 10
    assert counts["gabor"] == counts["other"] == 0


def test_rates_know_kinds_of_its_own_and_those_of_gabor_kernels() -> None:
    start = torch.rand(2, 1, 1)
    layer = Box(start, 3, rates={"height": 10, "theta": 3})
    assert layer.storage.rates == [10, 1]
    torch.testing.assert_close(layer.parameters_of_kernels(), start)
    with pytest.raises(ValueError, match=r"rates must be of .*height, offset, got 'width'"):
        Box(start, 3, rates={"width": 10})


@pytest.mark.parametrize("shape", [(3, 1, 1), (2, 1), (1, 2, 1, 1)])
def test_initial_parameters_have_a_row_for_each_name(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"parameters must be \(2, I, O\), got"):
        Box(torch.rand(shape), 3)


def test_the_kernel_has_a_central_voxel() -> None:
    with pytest.raises(ValueError, match="kernel_size must be odd and positive, got 4"):
        Box(torch.rand(2, 1, 1), 4)


def test_shared_and_parametrized_parameters_count_once_as_their_kind() -> None:
    first, second, third = (GaborConv3d(2, 3, 3) for _ in range(3))
    second.gabor = first.gabor
    torch.nn.utils.parametrize.register_parametrization(third, "gabor", torch.nn.Identity())
    counts = parameter_counts(torch.nn.Sequential(first, second, third))
    assert counts["gabor"] == 2 * 8 * 2 * 3
    assert sum(counts.values()) == counts["gabor"]
    assert "trainable=True" in repr(third)
