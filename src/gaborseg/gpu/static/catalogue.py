"""Every Triton kernel of the project, launched as in training, for checks without a card.

A new kernel adds a `Plan` here: `tests/gpu/test_static.py` then compiles it for every card, and
`python -m src.benchmark gpu_model` models its time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gaborseg.gpu.label_sums import (
    likelihood_backward,
    likelihood_forward,
    sums_backward,
    sums_forward,
)
from gaborseg.gpu.normalisation import Normalised, Rule, fused_sum
from gaborseg.gpu.pooling import fused_max_pool
from gaborseg.gpu.spectra import factors, multiply, periods
from gaborseg.gpu.static.plan import Plan
from gaborseg.gpu.synthesis import synthesise_backward, synthesise_forward
from gaborseg.gpu.taps import tap_gradient

_SIDE = 32
_CHANNELS = 48
_KERNEL = 7
"""The layers of level 2 of the paper's network, for volumes of 128^3."""


def plans() -> list[Plan]:
    """The plans of all kernels."""
    return [*_synthesis(), *_normalisation(), *_pooling(), *_losses(), *_spectra()]


def _synthesis() -> list[Plan]:
    parameters, size = _meta(8, _CHANNELS, _CHANNELS), [_KERNEL] * 3
    taps = _meta(_CHANNELS, _CHANNELS, *size)
    return [
        Plan(
            "synthesis, forward",
            "forward_kernel",
            lambda: synthesise_forward(parameters, _KERNEL),
            trips=_of("size"),
        ),
        Plan(
            "synthesis, backward",
            "backward_kernel",
            lambda: synthesise_backward(taps, parameters, _KERNEL),
            trips=_of("size"),
        ),
    ]


def _normalisation() -> list[Plan]:
    def both_ways() -> None:
        norm = nn.GroupNorm(4, 12, device="meta")
        volumes = [_volumes(12, dtype=torch.bfloat16).requires_grad_() for _ in range(2)]
        units = [Normalised(volume, norm, nn.ELU()) for volume in volumes]
        fused_sum(units, Rule(1.0, exponential=True)).sum().backward()

    return [
        Plan(
            f"normalisation of two, {part}",
            f"{part}_kernel",
            both_ways,
            trips=lambda arguments: arguments["chunk"] / arguments["block"],
        )
        for part in ("moments", "forward", "sums", "backward")
    ]


def _pooling() -> list[Plan]:
    def both_ways() -> None:
        fused_max_pool(_volumes(12).requires_grad_()).sum().backward()

    return [
        Plan(f"pooling, {way}", f"{way}_kernel", both_ways, resident_warps=24)
        for way in ("forward", "backward")
    ]


def _losses() -> list[Plan]:
    logits = _volumes(20).flatten(2)
    target = _meta(1, logits.shape[2], dtype=torch.int64)
    sums, likelihood = _meta(5, 1, 20, dtype=torch.float64), _meta(1, logits.shape[2])
    return [
        Plan(name, f"{kernel}_kernel", host, trips=_of("tiles"), resident_warps=8)
        for name, kernel, host in (
            ("sums of labels", "sums", lambda: sums_forward(logits, target)),
            (
                "sums of labels, backward",
                "sums_gradient",
                lambda: sums_backward(sums, logits, target),
            ),
            ("log-likelihood", "likelihood", lambda: likelihood_forward(logits, target)),
            (
                "log-likelihood, backward",
                "likelihood_gradient",
                lambda: likelihood_backward(likelihood, logits, target),
            ),
        )
    ]


def _spectra() -> list[Plan]:
    parameters, size = _meta(8, _CHANNELS, _CHANNELS), [_SIDE] * 3
    *planes, last = periods(size, _KERNEL)
    spectra = _meta(1, _CHANNELS, *planes, last // 2 + 1, dtype=torch.complex64)

    def product(*, adjoint: bool) -> Callable[[], object]:
        return lambda: multiply(spectra, factors(parameters, size, _KERNEL), adjoint=adjoint)

    return [
        Plan("spectra, taps", "taps_kernel", product(adjoint=False), resident_warps=8),
        Plan("spectra, factors", "factors_kernel", product(adjoint=False)),
        Plan(
            "spectra, product",
            "multiply_kernel",
            product(adjoint=False),
            trips=_of("summed"),
            resident_warps=12,
            ffma=0.6,
        ),
        Plan(
            "spectra, adjoint product",
            "multiply_kernel",
            product(adjoint=True),
            trips=_of("summed"),
            resident_warps=12,
            ffma=0.6,
        ),
        Plan(
            "spectra, gradient by taps",
            "tap_kernel",
            lambda: tap_gradient(spectra, spectra, size, _KERNEL),
            trips=_blocks,
            resident_warps=4,
            older={"precision": "no units"},
        ),
    ]


def _blocks(arguments: Mapping[str, Any]) -> float:
    """Tiles of the spectra that a program of the gradient by taps reads."""
    columns = -(-arguments["half"] // arguments["some_columns"])
    return float(arguments["share"] / arguments["some_rows"] * columns * arguments["samples"])


def _volumes(channels: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """A volume of 128^3."""
    return _meta(1, channels, 128, 128, 128, dtype=dtype)


def _meta(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor that has a shape and no memory."""
    return torch.empty(shape, dtype=dtype, device="meta")


def _of(name: str) -> Callable[[Mapping[str, Any]], float]:
    """As many trips as an argument says."""
    return lambda arguments: float(arguments[name])
