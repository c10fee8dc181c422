"""Where tests of Triton kernels run: on a GPU, or in Triton's interpreter on the CPU.

Triton decides when it is imported whether to interpret, for the whole process. Without a GPU,
`tests/gpu/test_interpreter.py` therefore runs the tests of its folder again, all in one process of
its own, where `TRITON_INTERPRET=1`.
"""

import os
from collections.abc import Iterable

import pytest
import torch
from torch import Tensor

from gaborseg.gpu import triton_installed

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
ELSEWHERE = triton_installed() and not INTERPRETED and DEVICE.type == "cpu"
"""Whether kernels are tested in that other process."""

needs_triton = pytest.mark.skipif(
    not triton_installed() or ELSEWHERE, reason="needs Triton, and a GPU or its interpreter"
)


def error(value: Tensor, reference: Tensor) -> float:
    """Largest difference over the largest reference value (absolute where that is 0)."""
    scale = reference.abs().max()
    return float((value - reference).abs().max() / torch.where(scale > 0, scale, 1))


def largest_error(values: Iterable[Tensor], references: Iterable[Tensor]) -> float:
    """The largest `error` of several tensors."""
    return max(error(*pair) for pair in zip(values, references, strict=True))
