"""Code treats tensors without memory as those of a GPU: what it does there can be seen anywhere.

Tensors on the device `meta` have shapes and dtypes, and operations on them take no time. Within
`as_on_a_gpu`, code that asks is told that they are on a GPU whose kernels of ours are trusted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from gaborseg.gpu import choice, trust

_IN_BFLOAT16 = {F.conv3d, torch.matmul, torch.bmm, torch.einsum, Tensor.matmul, Tensor.__matmul__}
"""The functions that our networks call, of those that autocast computes in bfloat16."""


@contextmanager
def as_on_a_gpu(way: choice.Way, *, autocast: bool = False, tf32: bool = False) -> Iterator[None]:
    """Have code treat `meta` tensors as those of a GPU.

    Args:
        way: The way that all Gabor convolutions go: `"direct"` or `"spectral"`.
        autocast: Convolutions and matrix products are of bfloat16.
        tf32: Those of float32 may be of TF32.
    """
    with ExitStack() as stack:
        for owner, name, value in (
            (Tensor, "is_cuda", property(lambda tensor: True)),
            (torch, "is_autocast_enabled", lambda device_type=None: autocast),
            (torch, "get_autocast_dtype", lambda device_type: torch.bfloat16),
            (trust, "_distrust", lambda check, device: ""),
            (choice, "_pinned", choice.Choices(_Always(way))),
        ):
            stack.enter_context(_replaced(owner, name, value))
        stack.enter_context(torch.backends.cudnn.flags(allow_tf32=tf32))
        if autocast:
            stack.enter_context(_Autocast())
        yield


class _Always(dict[str, choice.Way]):
    """One way for every convolution."""

    def __init__(self, way: choice.Way) -> None:
        super().__init__()
        self._way = way

    def get(self, key: str, default: object = None) -> choice.Way:
        return self._way


@contextmanager
def _replaced(owner: Any, name: str, value: object) -> Iterator[None]:
    """Give an attribute another value for a while."""
    inherited, before = name not in vars(owner), vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if inherited:
            delattr(owner, name)
        else:
            setattr(owner, name, before)


class _Autocast(TorchFunctionMode):
    """What torch's autocast does, which knows no `meta` tensors."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _IN_BFLOAT16:
            args, kwargs = tree_map_only(Tensor, _narrowed, (args, kwargs))
        return func(*args, **kwargs)


def _narrowed(tensor: Tensor) -> Tensor:
    """The tensor in bfloat16, if it is float32."""
    return tensor.bfloat16() if tensor.dtype == torch.float32 else tensor
