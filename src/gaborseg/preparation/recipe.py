"""What a prepared data set is made with, and the file in it that says so."""

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from gaborseg.machine import PARTIAL, load_json, read_text, write_text
from gaborseg.pictures import PREPARED_VIEWERS
from gaborseg.preparation.mapping import LabelMapping
from gaborseg.preparation.reading import GEOMETRIES, OVERLAPS, Reading
from gaborseg.scans import FORMS, SETTINGS, DataError, is_window

_VERSION = 2
"""Raise it when the same scan comes out differently, or what is noted about it."""
_SIZES = (8, 512)
_EMPTY = ("refuse", "allow")
_CHOICES = {
    "forms": FORMS,
    "empty": _EMPTY,
    "geometry": GEOMETRIES,
    "overlap": OVERLAPS,
    "viewer": PREPARED_VIEWERS,
}
_AT_FIRST = {
    "geometry": "agree",
    "volumes": [],
    "num_volumes": 1,
    "overlap": "refuse",
    "window": None,
}
"""What holds for data sets that were prepared before there were these choices."""


@dataclass(frozen=True)
class Recipe:
    """How scans become a data set.

    Attributes:
        size: Voxels a side of the cubes.
        channels: Names of the images of a scan.
        mapping: Ids of the structures.
        reading: How their files are read.
    """

    size: int
    channels: tuple[str, ...]
    mapping: LabelMapping
    reading: Reading

    def as_json(self) -> dict[str, Any]:
        """All of it, plain."""
        ids = {name: list(ids) for name, ids in self.mapping.structures.items()}
        return {
            "version": _VERSION,
            "size": self.size,
            "channels": list(self.channels),
            "forms": self.reading.forms,
            "labels": ids | self.mapping.others,
            "geometry": self.reading.geometry,
            "volumes": list(self.reading.volumes),
            "num_volumes": self.reading.num_volumes,
            "overlap": self.reading.overlap,
            "window": self.reading.window and list(self.reading.window),
        }

    def claim(self, output: Path) -> None:
        """Let a folder say that it is filled with this recipe.

        Raises:
            DataError: It is filled with another one.
        """
        check_output(output, self.as_json())
        if not (output / SETTINGS).exists():
            write_text(output / SETTINGS, json.dumps(self.as_json(), indent=2) + "\n")


def check_output(output: Path, settings: dict[str, Any]) -> None:
    """Check that a folder is free, or is being filled with the same settings.

    Raises:
        DataError: It holds something else.
    """
    path = output / SETTINGS
    if not path.exists():
        if output.exists() and (not output.is_dir() or any(map(_is_foreign, output.iterdir()))):
            raise DataError(f"output must be a new or an empty folder, got {output}")
        return
    try:
        old = load_json(read_text(path))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged; choose another output") from error
    for key, value in settings.items():
        before = old.get(key, _AT_FIRST.get(key)) if isinstance(old, dict) else None
        if before != value:
            told = key if key == "labels" else f"{key}: {before} -> {value}"
            raise DataError(f"{output} was prepared in another way ({told}); choose another output")


def _is_foreign(path: Path) -> bool:
    """Whether something is not what an interrupted command leaves."""
    return not path.name.startswith((".preparation", PARTIAL))


def check_choices(settings: SimpleNamespace) -> None:
    """Check what a user can choose, before any scan is read.

    Raises:
        DataError: A value is out of its range.
    """
    low, high = _SIZES
    size = settings.size
    if isinstance(size, bool) or not isinstance(size, int) or not low <= size <= high:
        raise DataError(f"size must be an integer from {low} to {high}, got {size}")
    for name, choices in _CHOICES.items():
        if (value := getattr(settings, name)) not in choices:
            raise DataError(f"{name} must be one of {', '.join(choices)}, got {value}")
    if settings.window is not None and not is_window(settings.window):
        raise DataError(
            "window must be two numbers, the lower first, as in window=[-160,240], or null, got "
            f"{settings.window}"
        )
    if settings.masks is not None and settings.labels is not None:
        raise DataError(
            "labels must be null where masks= is given, whose files name the structures, got "
            f"{settings.labels}: choose and order them with structures=[...]"
        )
    if settings.structures and settings.masks is None and settings.labels is None:
        raise DataError("structures must be names in labels= or of masks=: give one of these")
