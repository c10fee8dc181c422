import copy

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.nn import functional as F

from gaborseg.layers import ConventionalConv3d
from gaborseg.networks import HNOSegXS, VNetDS
from gaborseg.networks.hnoseg_xs import _cas
from gaborseg.networks.upsample import interpolation_matrix, sum_of_upsampled, upsample

LEVELS = {"channels": [4, 4], "depths_down": [1, 1], "depths_up": [1]}
VNET = VNetDS(1, 2, [ConventionalConv3d] * 2, **LEVELS).eval()
HNOSEG = HNOSegXS(1, 2, filters=4, blocks=(1, 1), modes=(3, 3, 3)).eval()


@pytest.mark.parametrize("mode", ["trilinear", "nearest"])
@pytest.mark.parametrize("size", [(8, 6, 10), (4, 3, 5), (5, 9, 7), (64, 3, 20)])
def test_it_agrees_with_torchs_interpolation(mode: str, size: tuple[int, int, int]) -> None:
    features = torch.randn(2, 3, 4, 3, 5, dtype=torch.float64)
    expected = F.interpolate(features, size=size, mode=mode)
    torch.testing.assert_close(upsample(features, size, mode), expected)


def test_a_sum_is_the_sum_of_the_upsampled() -> None:
    features = [torch.randn(2, 3, s, s, s + 1) for s in (2, 4, 8)]
    expected = sum(F.interpolate(x, size=(8, 8, 9), mode="trilinear") for x in features)
    torch.testing.assert_close(sum_of_upsampled(features, (8, 8, 9)), expected)


def test_gradients_are_exact() -> None:
    features = torch.randn(1, 2, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: upsample(x, (4, 5, 3)), (features,))


def test_every_row_of_a_matrix_sums_to_one() -> None:
    for mode in ("trilinear", "nearest"):
        matrix = interpolation_matrix(3, 48, mode)
        torch.testing.assert_close(matrix.sum(dim=1), torch.ones(48).double())


def test_a_matrix_made_in_inference_mode_can_train() -> None:
    interpolation_matrix.cache_clear()
    features = torch.randn(1, 1, 2, 2, 2, requires_grad=True)
    with torch.inference_mode():
        upsample(features, (4, 4, 4))
    upsample(features, (4, 4, 4)).sum().backward()
    torch.testing.assert_close(features.grad, torch.full_like(features, 8.0))


def test_unknown_interpolation_is_an_error() -> None:
    with pytest.raises(ValueError, match="interpolation must be trilinear or nearest, got 'cubic'"):
        upsample(torch.zeros(1, 1, 2, 2, 2), (4, 4, 4), "cubic")


@pytest.mark.parametrize("network", [VNET, HNOSEG], ids=["vnet_ds", "hnoseg_xs"])
def test_what_is_kept_is_real_even_if_it_was_made_while_a_network_was_traced(network) -> None:
    interpolation_matrix.cache_clear()
    _cas.cache_clear()
    x = torch.randn(1, 1, 9, 8, 10)
    torch.export.export(network, (x,))
    assert type(network(x)) is Tensor
    interpolation_matrix.cache_clear()
    _cas.cache_clear()
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        copy.deepcopy(network)(mode.from_tensor(x))
    assert type(network(x)) is Tensor
