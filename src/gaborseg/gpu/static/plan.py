"""What a kernel is launched with at the sizes of a network, and what its author counts on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gaborseg.gpu.static.launches import Launch, recorded_launches

_MATRIX_UNITS = 80
"""The first compute capability whose processors multiply matrices of float32."""


def _once(arguments: Mapping[str, Any]) -> float:
    """The inner loop runs once."""
    return 1


@dataclass(frozen=True)
class Plan:
    """A Triton kernel, a launch of it as in training, and the limits that a test holds.

    Attributes:
        name: What the kernel does: "normalisation, backward".
        kernel: The name of the function that Triton compiles.
        host: Code that launches it, called with tensors on the device `meta`: the code that
            training calls, so that what is checked is what runs.
        trips: How often a program runs its inner loop, from the arguments of the launch.
        resident_warps: Warps that should fit on a processor at a time, to hide waiting.
        ffma: Least share of the inner loop's instructions that are multiply-adds.
        older: Arguments that the host code chooses otherwise for cards before 8.0.
    """

    name: str
    kernel: str
    host: Callable[[], object]
    trips: Callable[[Mapping[str, Any]], float] = _once
    resident_warps: int = 16
    ffma: float = 0.0
    older: Mapping[str, Any] = field(default_factory=dict)

    def launch(self, capability: int) -> Launch:
        """The last launch of the kernel by the host code, for a compute capability, 90 for 9.0.

        Raises:
            ValueError: The host code does not launch it.
        """
        with recorded_launches() as launches:
            self.host()
        for launch in reversed(launches):
            if launch.kernel.__name__ == self.kernel:
                changed = self.older if capability < _MATRIX_UNITS else {}
                return replace(launch, arguments={**launch.arguments, **changed})
        raise ValueError(f"{self.name}: the host code does not launch {self.kernel}")
