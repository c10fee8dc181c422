"""The volumes of a viewer's case, as they were before they were packed."""

import base64
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


def unpacked(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)


def grey_of(case: dict[str, Any]) -> NDArray[np.uint8]:
    levels = np.cumsum(unpacked(case["scan"]), dtype=np.uint8)
    return levels.reshape(case["shape"], order="F")


def labels_of(case: dict[str, Any], position: int = 0) -> NDArray[np.uint8]:
    label, length = unpacked(case["maps"][position]["runs"]).reshape(-1, 2).T
    return np.repeat(label, length).reshape(case["shape"], order="F")
