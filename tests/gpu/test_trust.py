"""When a kernel is trusted on a device: where it agrees with its twin, whatever the mode."""

import math

import pytest
import torch

from gaborseg.gpu import TwinCheck, largest_difference, trust, trusted

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "triton_installed", lambda: True)


@pytest.mark.parametrize(
    ("difference", "agrees"), [(0.0, True), (1e-5, True), (2e-5, False), (float("nan"), False)]
)
def test_a_kernel_within_rounding_is_trusted(difference: float, agrees: bool) -> None:
    assert trusted(TwinCheck("kernel", lambda device: difference, 1e-5), CPU) == agrees


def test_a_kernel_that_fails_is_not_and_one_line_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(device: torch.device) -> float:
        raise RuntimeError("no compiler\nsome trace")

    check = TwinCheck("pooling", fail, 0)
    assert not trusted(check, CPU)
    assert not trusted(check, CPU)
    assert caplog.messages == ["pooling on cpu: torch's operators, as no compiler"]


def test_gradients_can_be_compared_where_the_user_wants_none() -> None:
    def gradient(device: torch.device) -> float:
        x = torch.ones(1, device=device, requires_grad=True)
        (by_x,) = torch.autograd.grad(x.square(), x)
        return float(by_x - 2)

    with torch.inference_mode():
        assert trusted(TwinCheck("kernel", gradient, 0), CPU)


def test_a_difference_is_relative_to_the_largest_value_of_each_pair() -> None:
    ours = torch.tensor([1.0, 4.5]), torch.tensor([0.0])
    twins = torch.tensor([1.0, 4.0]), torch.tensor([0.0])
    assert largest_difference(ours, twins) == 0.125


@pytest.mark.parametrize("place", [0, 1, 2])
def test_not_a_number_is_found_wherever_it_is(place: int) -> None:
    ours = [torch.ones(2) for _ in range(3)]
    ours[place][1] = torch.nan
    assert math.isnan(largest_difference(ours, [torch.ones(2)] * 3))
