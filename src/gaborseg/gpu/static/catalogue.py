"""Every Triton kernel of the project, launched as in training, for checks without a card.

A new kernel adds a `Plan` here: `tests/gpu/test_static.py` then compiles it for every card, and
`python -m src.benchmark gpu_model` models its time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gaborseg.gpu.normalisation import Normalised, Rule, fused_sum
from gaborseg.gpu.pooling import fused_max_pool
from gaborseg.gpu.resampling import Resampling, fused_patches
from gaborseg.gpu.spectra import factors, multiply, periods
from gaborseg.gpu.static.plans import Plan
from gaborseg.gpu.synthesis import synthesise_backward, synthesise_forward
from gaborseg.gpu.taps import tap_gradient

_SIDE = 32
_CHANNELS = 48
_KERNEL = 7
"""The layers of level 2 of the paper's network, for volumes of 128^3."""


def plans() -> list[Plan]:
    """The plans of all kernels."""
    return [*_synthesis(), *_normalisation(), *_pooling(), *_resampling(), *_spectra()]


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
    kernels = ("moments_kernel", "forward_kernel", "sums_kernel", "backward_kernel")
    return [
        Plan(
            f"normalisation, {kernel.removesuffix('_kernel')}, of {count}, {name}",
            kernel,
            lambda count=count, dtype=dtype: _normalise(count, dtype),  # type: ignore[misc]
            trips=lambda arguments: arguments["chunk"] / arguments["block"],
        )
        for count, dtype, name in ((1, torch.float32, "float32"), (2, torch.bfloat16, "bfloat16"))
        for kernel in kernels
    ]


def _normalise(count: int, dtype: torch.dtype) -> None:
    """Both ways for one volume of level 0, or for the sum of two."""
    norm = nn.GroupNorm(4, 12, device="meta")
    volumes = [_meta(1, 12, 128, 128, 128, dtype=dtype).requires_grad_() for _ in range(count)]
    units = [Normalised(volume, norm, nn.ELU()) for volume in volumes]
    fused_sum(units, Rule(1.0, exponential=True)).sum().backward()


def _pooling() -> list[Plan]:
    def both_ways() -> None:
        x = _meta(1, 12, 128, 128, 128).requires_grad_()
        fused_max_pool(x).sum().backward()

    return [
        Plan(f"pooling, {way}", f"{way}_kernel", both_ways, resident_warps=24)
        for way in ("forward", "backward")
    ]


def _resampling() -> list[Plan]:
    side = 128
    volume, labels = _meta(1, side, side, side), _meta(side, side, side, dtype=torch.uint8)
    unmoved = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0))
    how = Resampling(unmoved, ((0, 0, 0),), (side, side, side))
    return [
        Plan(
            "augmentation",
            "resampling_kernel",
            lambda: fused_patches(volume, labels, _meta(1), how),
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


def _meta(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor that has a shape and no memory."""
    return torch.empty(shape, dtype=dtype, device="meta")


def _of(name: str) -> Callable[[Mapping[str, Any]], float]:
    """As many trips as an argument says."""
    return lambda arguments: float(arguments[name])
