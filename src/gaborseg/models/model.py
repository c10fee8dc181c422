"""What every kind of model file comes down to: facts about scans, and scores of a prepared one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from gaborseg.data import MOST_UNEVEN, Appearance
from gaborseg.decisions import are_finite
from gaborseg.models.description import ModelError, check_data
from gaborseg.scans import Window, window_of


@dataclass(frozen=True)
class Facts:
    """What a model was trained on, as far as a scan must be made like it.

    Attributes:
        structures: Names of the labels 1 ... C-1.
        channels: Names of the images of a case, in order.
        size: Voxels along each axis of a prepared case.
        spacing: Millimetres from voxel to voxel.
        appearance: What the training scans look like, if it is known.
        patch_size: Voxels a side of what the network saw at a time, or None for whole volumes.
        forms: Which affine was used where a NIfTI header gave two: ``sform``, ``qform``, or
            ``agree`` if none gave two that differ.
        volumes: Which volumes of a scan's 4-D file were the channels; none if each had a file.
        num_volumes: How many volumes such a file had.
        window: What intensities were clipped to before anything else, in all channels; None: they
            were not.
    """

    structures: tuple[str, ...]
    channels: tuple[str, ...]
    size: tuple[int, int, int]
    spacing: float
    appearance: Appearance | None = None
    patch_size: int | None = None
    forms: str = "agree"
    volumes: tuple[int, ...] = ()
    num_volumes: int = 1
    window: Window | None = None

    @property
    def cube(self) -> int:
        """Voxels a side of the cube that holds a prepared case."""
        return max(self.size)

    @property
    def field_of_view(self) -> tuple[float, float]:
        """The shortest and the longest side of the training scans' cubes, mm."""
        if self.appearance is None:
            return self.cube * self.spacing, self.cube * self.spacing
        low, high = self.appearance.field_of_view
        return low, high

    def shape_seen(self, patch_size: int | None) -> tuple[int, int, int]:
        """Voxels along each axis of a patch of a prepared case; of all of it if None."""
        depth, height, width = (min(length, patch_size or length) for length in self.size)
        return depth, height, width


@dataclass(frozen=True)
class Model:
    """A model that is ready to use.

    Attributes:
        file: Where it was read from.
        facts: What it was trained on.
        logits: Maps prepared images, or patches of them, (1, I, *S) to logits (1, C, *S).
        scores: Maps logits to what the decision compares, (1, C, *S).
        fixed_size: The only size of image that it takes, if there is just one.
    """

    file: Path
    facts: Facts
    logits: Callable[[Tensor], Tensor]
    scores: Callable[[Tensor], Tensor]
    fixed_size: tuple[int, int, int] | None = None

    @property
    def patch_size(self) -> int | None:
        """Voxels a side of the patches that it is to be used on; None: on whole volumes."""
        if self.fixed_size is None:
            return self.facts.patch_size
        return None if self.fixed_size == self.facts.size else max(self.fixed_size)


def check_logits(logits: Tensor, file: Path) -> Tensor:
    """The logits that a model has computed, if they are finite: NaN would be taken for background.

    Raises:
        ModelError: They are not.
    """
    if not are_finite(logits):
        raise ModelError(f"{file}: logits must be finite, got NaN or infinity")
    return logits


def facts_of(data: Mapping[str, Any]) -> Facts:
    """The facts in the description of a model's data.

    Raises:
        ModelError: Something is missing or out of range, or voxels are not cubes.
    """
    check_data(data)
    low, *_, high = sorted(data["spacing"])
    if high > MOST_UNEVEN * low:
        raise ModelError(
            f"it was trained on voxels of {data['spacing']} mm, and only cubes can be segmented: "
            "prepare the data with gaborseg prepare"
        )
    known = data.get("appearance")
    preparation = data.get("preparation") or {}
    return Facts(
        structures=tuple(data["structures"]),
        channels=tuple(data["channels"]),
        size=tuple(data["size"]),
        spacing=sum(data["spacing"]) / 3,
        appearance=Appearance(**known) if known else None,
        patch_size=data.get("patch_size"),
        forms=preparation.get("forms", "agree"),
        volumes=tuple(preparation.get("volumes", ())),
        num_volumes=preparation.get("num_volumes", 1),
        window=window_of(data),
    )
