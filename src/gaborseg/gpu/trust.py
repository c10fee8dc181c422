"""Whether a kernel of ours computes on a card what its twin in torch does."""

import functools
import importlib.util
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TwinCheck:
    """A kernel and how to find out whether it agrees with its twin.

    Attributes:
        kernel: What the kernel does, as a user reads it: "normalisation".
        difference: Runs both on random input on a device, and returns their `largest_difference`.
            Gradients can be asked for, whatever mode the user's code is in.
        bound: The largest difference that rounding explains.
    """

    kernel: str
    difference: Callable[[torch.device], float]
    bound: float


@functools.cache
def trusted(check: TwinCheck, device: torch.device) -> bool:
    """Tell whether a kernel runs on a device and agrees with its twin; if not, say so once."""
    reason = _distrust(check, device)
    if reason:
        logger.warning("%s on %s: torch's operators, as %s", check.kernel, device, reason)
    return not reason


def largest_difference(ours: Iterable[Tensor], twins: Iterable[Tensor]) -> float:
    """The largest difference of two tensors over the twin's largest value; NaN if there is one.

    >>> largest_difference([torch.tensor([1.0, 2.5])], [torch.tensor([1.0, 2.0])])
    0.25
    """
    pairs = [(a.double(), b.double()) for a, b in zip(ours, twins, strict=True)]
    smallest = torch.finfo(torch.float64).tiny  # nothing differs from nothing by 0
    differences = [(a - b).abs().max() / b.abs().max().clamp_min(smallest) for a, b in pairs]
    return torch.stack(differences).max().item()


def triton_installed() -> bool:
    """Tell whether Triton can be imported; to import it takes a while."""
    return importlib.util.find_spec("triton") is not None


def _distrust(check: TwinCheck, device: torch.device) -> str:
    """Why a kernel may not be used on a device; empty where it may."""
    if not triton_installed():
        return "triton is not installed"
    try:
        with (
            torch.inference_mode(mode=False),
            torch.enable_grad(),
            torch.autocast(device.type, enabled=False),
        ):
            difference = check.difference(device)
    except Exception as error:  # whatever is missing: a C compiler, support of this card
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    if difference <= check.bound:
        return ""
    return f"Triton's kernel differs by {difference:.1e} (at most {check.bound:.0e} is rounding)"
