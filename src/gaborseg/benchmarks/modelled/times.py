"""The modelled time of a traced step on a card: every operation at the card's full speed, in turn.

An operation of torch takes as long as its arithmetic at the peak rate, or its traffic at the peak
bandwidth, whichever is more; a Triton kernel as long as `gaborseg.gpu.estimate` says. Launches,
waiting and Python are not modelled: a real step takes longer.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch

from gaborseg.benchmarks.modelled.trace import Operation, Trace
from gaborseg.gpu import Card, Compiled, Launch, compiled, estimate, plans

_GIGA, _TERA = 1e9, 1e12
_HOPPER = 90
_LISTED_AS = {70: 75}
"""Compute capabilities that NVIDIA's disassembler no longer lists, and whose code stands for it."""

_DIVISOR = 16
_BITS = 31

_kept: dict[tuple[object, ...], Compiled | None] = {}


def modelled_seconds(trace: Trace, card: Card, precision: str) -> float | None:
    """The time of a traced step on a card; None if the card lacks the precision, or Triton."""
    if not {"tf32": card.tf32, "bf16-mixed": card.bf16}.get(precision, card.float32):
        return None
    launches = [launch_seconds(launch, card) for launch in trace.launches]
    known = [seconds for seconds in launches if seconds is not None]
    if len(known) < len(launches):
        return None
    return sum(known) + sum(operation_seconds(part, card, precision) for part in trace.operations)


def operation_seconds(operation: Operation, card: Card, precision: str) -> float:
    """The time of an operation of torch on a card that has the precision."""
    single = card.tf32 if precision == "tf32" else card.float32
    rate = card.bf16 if operation.dtype == torch.bfloat16 else single
    arithmetic = operation.flop / (rate * _TERA) if rate and operation.flop else 0
    return max(arithmetic, operation.traffic / (card.bandwidth * _GIGA))


def launch_seconds(launch: Launch, card: Card) -> float | None:
    """The time of a launch of a Triton kernel; None if Triton does not serve the card."""
    served = compiled_once(launch, card.capability)
    kernel = compiled_once(launch, _LISTED_AS.get(card.capability, card.capability))
    if served is None or kernel is None:
        return None
    trips = _trips().get(launch.kernel)
    return estimate(launch, kernel, trips(launch.arguments) if trips else 1, card).seconds


def compiled_once(launch: Launch, capability: int) -> Compiled | None:
    """The kernel of a launch; None if Triton does not serve the compute capability.

    Launches that Triton compiles to the same kernel share it.
    """
    key = capability, *_assumptions(launch)
    if key not in _kept:
        try:
            _kept[key] = compiled(launch, capability)
        except Exception:  # whatever stops it: its assembler may not know an old card any more
            _kept[key] = None
    return _kept[key]


def _assumptions(launch: Launch) -> tuple[object, ...]:
    """All that decides into what Triton compiles a launch."""
    arguments = zip(launch.kernel.params, launch.arguments.values(), strict=True)
    assumed = (_assumed(parameter, value) for parameter, value in arguments)
    return launch.kernel, *sorted(launch.options.items()), *assumed


def _assumed(parameter: Any, value: Any) -> object:
    """What Triton assumes of an argument: a constant's value, of other numbers what divides it."""
    if parameter.is_constexpr:
        return value
    if isinstance(value, torch.Tensor):
        return value.dtype, value.data_ptr() % _DIVISOR
    if isinstance(value, int) and not parameter.do_not_specialize:
        return value == 1, value % _DIVISOR == 0, value.bit_length() > _BITS
    return type(value)


@functools.cache
def _trips() -> dict[Any, Callable[[Mapping[str, Any]], float]]:
    """By kernel, how often a program runs its inner loop."""
    return {plan.launch(_HOPPER).kernel: plan.trips for plan in plans()}
