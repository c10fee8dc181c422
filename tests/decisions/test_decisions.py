import pytest
import torch
from torch import Tensor

from gaborseg.decisions import Argmax, Calibrated, are_finite


def shy_logits(target: Tensor) -> Tensor:
    """Scores that rank label 1 perfectly but never above the background's."""
    p1 = torch.where(target == 1, 0.10, 0.02)
    return torch.stack([1 - p1, p1], dim=1).log()


def test_argmax_takes_the_largest_logit() -> None:
    logits = torch.tensor([[0.1, 0.9], [0.5, 0.2]]).T[None, :, :]
    assert Argmax()(logits).tolist() == [[1, 0]]


def test_a_fitted_decision_finds_what_argmax_misses() -> None:
    target = (torch.rand(2, 4, 4, 4) < 0.3).long()
    logits = shy_logits(target)
    decision = Calibrated(2)
    assert Argmax()(logits).max() == 0
    decision.observe(logits, target)
    decision.fit()
    assert torch.equal(decision(logits), target)


def test_before_the_fit_it_is_argmax() -> None:
    logits = torch.randn(2, 3, 4, 4, 4)
    assert torch.equal(Calibrated(3)(logits), Argmax()(logits))


def test_a_second_fit_forgets_the_first() -> None:
    target = (torch.rand(2, 4, 4, 4) < 0.3).long()
    decision = Calibrated(2)
    decision.observe(torch.randn(2, 2, 4, 4, 4), target)
    decision.fit()
    decision.observe(shy_logits(target), target)
    decision.fit()
    assert torch.equal(decision(shy_logits(target)), target)


def test_the_maps_travel_in_the_state_dict_and_the_statistics_do_not() -> None:
    assert set(Calibrated(3).state_dict()) == {"scale", "offset"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_one_value_that_is_not_finite_is_seen(value: float) -> None:
    logits = torch.randn(1, 3, 4, 4, 4)
    assert are_finite(logits)
    logits[0, 1, 2, 3, 0] = value
    assert not are_finite(logits)


def test_the_largest_numbers_are_finite() -> None:
    assert are_finite(torch.tensor([-3e38, 3e38]))
