"""Compiling the network's passes of a training by ``torch.compile``."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Pass = Callable[[Tensor], Tensor]
Compiler = Callable[[Pass], Pass]

_MODES = ("default", "reduce-overhead", "max-autotune")


def network_compiler(mode: str | None, device: torch.device) -> Compiler | None:
    """``torch.compile`` in a mode, tried on the device; None if there is no mode.

    Raises:
        ValueError: There is no such mode, or nothing can be compiled on this machine.
    """
    if mode is None:
        return None
    if mode not in _MODES:
        raise ValueError(f"compile must be null, {', '.join(_MODES)}, got {mode}")
    compiler: Any = partial(torch.compile, mode=mode)
    try:
        compiler(F.elu)(torch.ones(2, device=device, requires_grad=True)).sum().backward()
    except Exception as error:  # whatever is missing: a C++ compiler, Triton, support of this card
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"compile={mode} cannot be used on this machine: {reason}; use compile=null"
        ) from error
    return compiler
