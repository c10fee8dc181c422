"""Clipping intensities to a window, as one looks at a CT."""

from collections.abc import Mapping
from typing import Any, TypeGuard

import torch
from torch import Tensor

Window = tuple[float, float]
"""Lowest and highest intensity that is kept, in the unit of the scan: in a CT, Hounsfield's."""

_LARGEST = torch.finfo(torch.float32).max


def is_window(value: object) -> TypeGuard[list[float] | Window]:
    """Whether a value is two finite numbers, the lower first.

    >>> is_window([-160, 240]), is_window([240, -160]), is_window([0, float("inf")])
    (True, False, False)
    """
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(type(one) in (int, float) and abs(one) <= _LARGEST for one in value)
        and value[0] < value[1]
    )


def window_of(data: Mapping[str, Any]) -> Window | None:
    """What the intensities of a data set were clipped to, by its description; None: they were not.

    >>> window_of({"preparation": {"window": [-160, 240]}}), window_of({})
    ((-160.0, 240.0), None)
    """
    preparation = data.get("preparation")
    window = preparation.get("window") if isinstance(preparation, dict) else None
    return (float(window[0]), float(window[1])) if is_window(window) else None


def clip(image: Tensor, window: Window | None) -> Tensor:
    """The image (any shape) with its intensities brought into a window; itself if there is none."""
    return image if window is None else image.clamp(*window)
