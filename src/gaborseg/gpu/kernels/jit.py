"""Triton where it is installed; the modules of this room can be imported without it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

try:
    import triton
except ImportError:  # torch for CPUs comes without it
    triton = None


def jit(*, any_value: Sequence[str] = ()) -> Callable[[Callable[..., Any]], Any]:
    """Hand a function to Triton; without Triton it stays a function that nobody calls.

    Args:
        any_value: Integer arguments that Triton must not compile anew for, whatever their value.
    """
    if triton is None:
        return lambda function: function
    decorate: Callable[[Callable[..., Any]], Any] = triton.jit(do_not_specialize=[*any_value])
    return decorate
