"""Mirrored sides, where no structure has one."""

import re
from collections.abc import Sequence

import torchio as tio
from torchio.transforms.augmentation import RandomTransform
from torchio.transforms.spatial_transform import SpatialTransform

_HAS_SIDE = re.compile(r"left|right|(?<![a-z])(lh|rh|l|r)(?![a-z])", re.IGNORECASE)


def has_side(structure: str) -> bool:
    """Whether a structure's name says that it lies on one side.

    >>> has_side("ctx-lh-insula"), has_side("brainstem")
    (True, False)
    """
    return _HAS_SIDE.search(structure) is not None


class RandomMirror(RandomTransform, SpatialTransform):
    """Mirrors left and right with a probability, unless a structure has a side.

    A structure has a side if its name says so: ``left_hippocampus``, ``ctx-lh-insula``,
    ``Amygdala_R``. Mirrored, it would be labelled as its counterpart.

    Args:
        probability: How often a sample is mirrored.

    Raises:
        ValueError: The probability is not in 0..1.
    """

    def __init__(self, probability: float = 0.5) -> None:
        super().__init__(p=probability)
        self.args_names = ["probability"]

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        """Mirror all images, or leave them alone because of their structures."""
        names: Sequence[str] = subject.get("structures", ())  # type: ignore[assignment]
        if any(map(has_side, names)):
            return subject
        return tio.Flip(axes=("Left",))(subject)
