"""Calling native functions with tensors."""

import ctypes

import torch
from torch import Tensor

_SUFFIX = {torch.float32: "float", torch.float64: "double"}


def call(
    library: ctypes.CDLL | None, name: str, dtype: torch.dtype, *arguments: Tensor | tuple[int, ...]
) -> None:
    """Call a native function in one precision, with pointers to data and arrays of int64.

    Args:
        library: What `native_library` returned; callers have looked that it is not None.
        name: Name of the function without its suffix, `_float` or `_double`.
        dtype: Float32 or float64.
        arguments: Tensors on the CPU, of strides that the function expects, and integers.

    Raises:
        MemoryError: The function returned 1, and not 0.
    """
    pointers = [
        ctypes.c_void_p(argument.data_ptr())
        if isinstance(argument, Tensor)
        else (ctypes.c_int64 * len(argument))(*argument)
        for argument in arguments
    ]
    if getattr(library, f"{name}_{_SUFFIX[dtype]}")(*pointers) != 0:
        raise MemoryError(f"{name} ran out of memory")
