"""Tensors that networks compute once and keep."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes


def outside_modes() -> AbstractContextManager[Any]:
    """A block whose tensors are real, whatever stands for tensors around it.

    While ``torch.export`` traces a network, or under a ``FakeTensorMode``, tensors have no values:
    kept, they would serve every later network of the process. ``torch.compile`` keeps nothing.
    """
    return nullcontext() if torch.compiler.is_dynamo_compiling() else _disable_current_modes()
