"""Launches of Triton kernels as the host code makes them, noted instead of run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from gaborseg.gpu.kernel import triton


@dataclass(frozen=True)
class Launch:
    """One launch of a Triton kernel: all that decides how it is compiled, and how often it runs.

    Attributes:
        kernel: The function that Triton compiles.
        arguments: What it is given, by name, constants included.
        options: What the launch says besides: `num_warps`, `num_stages`, `maxnreg`.
        grid: Programs along each of up to three axes.
    """

    kernel: Any
    arguments: dict[str, Any]
    options: dict[str, Any]
    grid: tuple[int, ...]

    @property
    def programs(self) -> int:
        """How many programs run."""
        return math.prod(self.grid)

    @property
    def traffic(self) -> int:
        """Bytes of all tensors that it is given, each counted once."""
        tensors = {id(value): value for value in self.arguments.values()}.values()
        return sum(value.nbytes for value in tensors if isinstance(value, Tensor))


@contextmanager
def recorded_launches() -> Iterator[list[Launch]]:
    """Note the launches of Triton kernels in a ``with`` block; none of them runs.

    Host code that reads no values can so be given tensors on the device `meta`, which have shapes
    but no memory, on a machine without a GPU.
    """
    launches: list[Launch] = []

    def note(kernel: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> None:
        named = {key: value for key, value in kwargs.items() if key in kernel.arg_names}
        bound = kernel.signature.bind(*args, **named)
        bound.apply_defaults()
        options = {key: value for key, value in kwargs.items() if key not in named}
        size = grid(bound.arguments) if callable(grid) else grid
        launches.append(Launch(kernel, dict(bound.arguments), options, tuple(size)))

    kind = triton.runtime.JITFunction
    run, kind.run = kind.run, note
    try:
        yield launches
    finally:
        kind.run = run
