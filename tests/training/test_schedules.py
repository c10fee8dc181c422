from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR

from gaborseg.training import constant, cosine, one_cycle

STEPS = 40


def rates(schedule: Callable[..., object], **options: float) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler = schedule(optimizer, **options)
    found = []
    for _ in range(STEPS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_constant_is_constant() -> None:
    assert set(rates(constant, total_steps=STEPS)) == {0.5}


def test_cosine_is_torchs_annealing() -> None:
    assert rates(cosine, total_steps=STEPS) == pytest.approx(rates(CosineAnnealingLR, T_max=STEPS))


def test_one_cycle_is_close_to_torchs() -> None:
    ours = rates(one_cycle, total_steps=STEPS)
    theirs = rates(OneCycleLR, max_lr=0.5, total_steps=STEPS, cycle_momentum=False)
    assert ours == pytest.approx(theirs, abs=0.04)
    assert max(ours) == pytest.approx(0.5)


def test_a_schedule_may_be_run_past_its_end() -> None:
    assert rates(cosine, total_steps=STEPS // 2)[-1] == pytest.approx(0)


@pytest.mark.parametrize("warmup", [0, 1, -0.5])
def test_warmup_is_a_proper_fraction(warmup: float) -> None:
    with pytest.raises(ValueError, match=r"warmup must be in \(0, 1\)"):
        rates(one_cycle, total_steps=STEPS, warmup=warmup)
