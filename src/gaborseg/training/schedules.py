"""Learning-rate schedules over the whole training, one step per optimiser step."""

import math
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def constant(optimizer: Optimizer, total_steps: int) -> LambdaLR:
    """Keep the optimiser's learning rate (the paper's protocol)."""
    return _scaled(optimizer, lambda progress: 1.0, total_steps)


def cosine(optimizer: Optimizer, total_steps: int) -> LambdaLR:
    """Fall from the optimiser's learning rate to 0 along half a cosine."""
    return _scaled(optimizer, _cosine, total_steps)


def one_cycle(optimizer: Optimizer, total_steps: int, warmup: float = 0.3) -> LambdaLR:
    """Rise from 1/25 of the learning rate to all of it, then fall to 0, both along half a cosine.

    Args:
        optimizer: Its learning rate is the peak.
        total_steps: Optimiser steps in the whole training.
        warmup: Fraction of the steps before the peak, in (0, 1).

    Raises:
        ValueError: If ``warmup`` is not in (0, 1).

    References:
        Smith & Topin, "Super-Convergence", 2018, arXiv:1708.07120.
    """
    if not 0 < warmup < 1:
        raise ValueError(f"warmup must be in (0, 1), got {warmup}")

    def factor(progress: float) -> float:
        if progress < warmup:
            return 1 - (1 - 1 / 25) * _cosine(progress / warmup)
        return _cosine((progress - warmup) / (1 - warmup))

    return _scaled(optimizer, factor, total_steps)


def _cosine(progress: float) -> float:
    return (1 + math.cos(math.pi * progress)) / 2


def _scaled(optimizer: Optimizer, factor: Callable[[float], float], total_steps: int) -> LambdaLR:
    return LambdaLR(optimizer, lambda step: factor(min(step / max(total_steps, 1), 1.0)))
