import math

import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from gaborseg.layers import ConventionalConv3d


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_output_has_the_size_of_the_input(kernel_size: int) -> None:
    layer, volume = ConventionalConv3d(2, 3, kernel_size), torch.randn(1, 2, 4, 5, 6)
    torch.testing.assert_close(layer(volume), F.conv3d(volume, layer.weight, padding="same"))


def test_kernel_starts_normal_with_the_variance_of_kaiming() -> None:
    torch.manual_seed(0)
    weight = ConventionalConv3d(8, 40).weight.detach().flatten().numpy()
    normal = stats.norm(0, math.sqrt(2 / (8 * 27)))
    assert stats.kstest(weight, normal.cdf).pvalue > 1e-3


def test_bias_is_left_out_unless_asked_for() -> None:
    assert list(ConventionalConv3d(2, 3).state_dict()) == ["weight"]
    biased = ConventionalConv3d(2, 3, bias=True)
    assert biased.bias is not None
    assert biased.bias.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((0, 2, 3), "in_channels must be at least 1, got 0"),
        ((2, 0, 3), "out_channels must be at least 1, got 0"),
        ((2, 2, 4), "kernel_size must be odd and positive, got 4"),
    ],
)
def test_impossible_sizes_are_refused(sizes: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConventionalConv3d(*sizes)
