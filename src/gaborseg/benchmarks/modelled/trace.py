"""What a step does on a GPU, traced without one: its operations, Triton kernels and memory."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from gaborseg.gpu import Launch, Way, as_on_a_gpu, recorded_launches

PRECISIONS = ("float32", "tf32", "bf16-mixed")
_FREE = ("empty", "detach", "lift_fresh", "_unsafe_view")
"""Parts of the names of operations that move nothing."""

_AXES = 3
"""Of a Fourier transform, each of which is a pass over the volume."""


class Operation(NamedTuple):
    """One operation of torch.

    Attributes:
        name: As torch calls it.
        flop: Floating-point operations, of convolutions and matrix products; else 0.
        traffic: Bytes of its tensors, each read or written once; of a Fourier transform, once for
            each axis.
        dtype: Of the result.
    """

    name: str
    flop: int
    traffic: int
    dtype: torch.dtype


@dataclass(frozen=True)
class Trace:
    """What a step has done.

    Attributes:
        operations: Those of torch.
        launches: Those of Triton kernels.
        peak: Most bytes that were held at a time, beyond those that were held before.
    """

    operations: list[Operation]
    launches: list[Launch]
    peak: int

    @property
    def flop(self) -> int:
        """Floating-point operations of convolutions and matrix products of torch."""
        return sum(operation.flop for operation in self.operations)

    @property
    def traffic(self) -> int:
        """Bytes that all operations read and write, one after the other."""
        of_torch = sum(operation.traffic for operation in self.operations)
        return of_torch + sum(launch.traffic for launch in self.launches)


def traced(step: Callable[[], object], precision: str, way: Way) -> Trace:
    """Return what a step on `meta` tensors does on a GPU.

    Args:
        step: Is called once.
        precision: One of `PRECISIONS`.
        way: The way that Gabor convolutions go.
    """
    pretence = as_on_a_gpu(way, autocast=precision == "bf16-mixed", tf32=precision != "float32")
    with pretence, recorded_launches() as launches, _Tracer() as tracer:
        step()
    return Trace(tracer.operations, launches, tracer.peak)


class _Tracer(TorchDispatchMode):
    """Notes operations, and the memory that is held."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self.peak = 0
        self._held = 0
        self._seen: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        given, made = _tensors((args, kwargs)), _tensors(result)
        before = {id(tensor.untyped_storage()) for tensor in given}
        for tensor in made:
            if tensor.is_meta and id(tensor.untyped_storage()) not in before:
                self._hold(tensor.untyped_storage())
        if made and not func.is_view and not any(word in func.name() for word in _FREE):
            count = flop_registry.get(func.overloadpacket)
            flop = count(*args, **kwargs, out_val=result) if count else 0
            traffic = _traffic([*given, *made])
            self.operations.append(Operation(func.name(), flop, traffic, made[0].dtype))
        return result

    def _hold(self, storage: Any) -> None:
        """Count memory until nobody has it any more."""
        if storage in self._seen:
            return
        self._seen.add(storage)
        self._held += storage.nbytes()
        self.peak = max(self.peak, self._held)
        weakref.finalize(storage, self._release, storage.nbytes())

    def _release(self, count: int) -> None:
        self._held -= count


def _traffic(tensors: list[Tensor]) -> int:
    """Bytes that an operation on tensors moves."""
    once = {id(tensor): tensor for tensor in tensors}.values()
    passes = 2 * (_AXES - 1) * max((t.nbytes for t in once if t.is_complex()), default=0)
    return sum(tensor.nbytes for tensor in once) + passes


def _tensors(values: Any) -> list[Tensor]:
    """All tensors in nested containers."""
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
