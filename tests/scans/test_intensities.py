import math

import pytest
import torch

from gaborseg.scans import clip, is_window, window_of


def test_intensities_outside_the_window_become_its_ends() -> None:
    image = torch.tensor([-1000.0, -160.0, -159.5, 240.0, 240.5, 3000.0])
    clipped = torch.tensor([-160.0, -160.0, -159.5, 240.0, 240.0, 240.0])
    torch.testing.assert_close(clip(image, (-160, 240)), clipped, rtol=0, atol=0)


def test_without_a_window_the_image_is_the_same() -> None:
    image = torch.randn(2, 3)
    assert clip(image, None) is image


@pytest.mark.parametrize(
    "value",
    [[240, -160], [40, 40], [1], [1, 2, 3], [0, math.inf], [math.nan, 1], [0, 10**400], [0, True],
     ["-160", "240"], "ab", 40, {0: 1, 1: 2}],
)  # fmt: skip
def test_anything_else_is_no_window(value: object) -> None:
    assert not is_window(value)
    assert window_of({"preparation": {"window": value}}) is None


@pytest.mark.parametrize("data", [{}, {"preparation": None}, {"preparation": {"window": None}}])
def test_data_that_tell_of_no_window_have_none(data: dict[str, object]) -> None:
    assert window_of(data) is None
