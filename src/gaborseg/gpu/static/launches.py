"""Launches of Triton kernels as the host code makes them, noted instead of run."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gaborseg.gpu.kernels.jit import triton

_ALIGNED = 16
"""Bytes: a tensor at a multiple of these is read several numbers at a time."""


@dataclass(frozen=True)
class Launch:
    """One launch of a Triton kernel: all that decides how it is compiled, and how often it runs.

    Attributes:
        kernel: The function that Triton compiles.
        arguments: What it is given, by name, constants included; in the place of each tensor one
            number of its dtype.
        options: What the launch says besides: `num_warps`, `num_stages`, `maxnreg`.
        grid: Programs along each of up to three axes.
        traffic: Bytes of all tensors that it is given, each counted once.
    """

    kernel: Any
    arguments: dict[str, Any]
    options: dict[str, Any]
    grid: tuple[int, ...]
    traffic: int

    @property
    def programs(self) -> int:
        """How many programs run."""
        return math.prod(self.grid)


@contextmanager
def recorded_launches() -> Iterator[list[Launch]]:
    """Note the launches of Triton kernels in a ``with`` block; none of them runs.

    Host code that reads no values can so be given tensors on the device `meta`, which have shapes
    but no memory, on a machine without a GPU.
    """
    launches: list[Launch] = []

    def note(kernel: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> None:
        launches.append(_launch(kernel, args, kwargs, grid))

    kind = triton.runtime.JITFunction
    run, kind.run = kind.run, note
    try:
        yield launches
    finally:
        kind.run = run


def _launch(kernel: Any, args: tuple[Any, ...], kwargs: dict[str, Any], grid: Any) -> Launch:
    """Return what a kernel has been called with."""
    named = {key: value for key, value in kwargs.items() if key in kernel.arg_names}
    bound = kernel.signature.bind(*args, **named)
    bound.apply_defaults()
    tensors = {id(value): value for value in bound.arguments.values() if isinstance(value, Tensor)}
    return Launch(
        kernel,
        {key: _outline(value) for key, value in bound.arguments.items()},
        {key: value for key, value in kwargs.items() if key not in named},
        tuple(grid(bound.arguments) if callable(grid) else grid),
        sum(tensor.nbytes for tensor in tensors.values()),
    )


def _outline(value: Any) -> Any:
    """Return a number in the place of a tensor, so that nobody keeps that; else the value."""
    if not isinstance(value, Tensor):
        return value
    return _number(value.dtype, value.data_ptr() % _ALIGNED == 0)


@functools.cache
def _number(dtype: torch.dtype, aligned: bool) -> Tensor:
    """Return a number, at an address that Triton may rely on or not."""
    numbers = torch.empty(2, dtype=dtype, device="meta")
    return numbers[0] if aligned else numbers[1]
