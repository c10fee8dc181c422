"""Which files or volumes are the channels of a scan, and what the channels are called."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gaborseg.data import is_name
from gaborseg.preparation.discovery import Found
from gaborseg.scans import DataError, image_and_label_folders, scan_files, stem

_FIRST = "_0000"
"""End of the names of first channels, where nnU-Net numbers them."""


@dataclass(frozen=True)
class Channels:
    """The channels that are wanted.

    Attributes:
        roles: What tells their files from others; nothing if there is no choice.
        names: What they are called; nothing if they are called as their files end.
        volumes: Which volumes of each 4-D file they are, and nothing if each has a file.
        num_volumes: How many volumes there are in a file.
    """

    roles: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    volumes: tuple[int, ...] = ()
    num_volumes: int = 1

    def of(self, found: Found) -> Found:
        """The same scans with the names of these channels.

        Raises:
            DataError: The scans have several files for the volumes, or more than names.
        """
        if self.volumes and len(found.channels) > 1:
            raise DataError(
                "volumes must only be given if each scan has one image file, got files for "
                f"{', '.join(found.channels)}: choose one with channels="
            )
        if self.names and not self.volumes and len(self.names) != len(found.channels):
            return found
        return replace(found, channels=self.names or found.channels)


def chosen_channels(
    source: Path, channels: Sequence[str], volumes: Sequence[str], told: Sequence[str]
) -> Channels:
    """The channels that a user wants.

    Args:
        source: The input.
        channels: Ends of the names of files, or names of volumes, that are chosen; all, if none.
        volumes: Names of the volumes of 4-D files.
        told: Names of the channels by a ``dataset.json``: files are numbered by them, or else are
            4-D if there are several names.

    Raises:
        DataError: A name is none, or comes twice.
    """
    if volumes:
        return _in_volumes(channels, volumes)
    if not told or not set(channels) <= set(told):
        return Channels(tuple(channels))
    chosen = tuple(channels) or tuple(told)
    if _is_numbered(source):
        return Channels(tuple(f"{told.index(name):04d}" for name in chosen), chosen)
    return Channels(names=chosen) if len(told) == 1 else _in_volumes(chosen, told)


def _in_volumes(channels: Sequence[str], volumes: Sequence[str]) -> Channels:
    """The channels of 4-D files.

    Raises:
        DataError: A name of a volume is none, or comes twice.
    """
    if strange := [name for name in volumes if not is_name(name) or Path(name).name != name]:
        raise DataError(f"volumes must be names of images, got {strange[0]!r}")
    if len(set(volumes)) < len(volumes):
        raise DataError(f"volumes must differ from one another, got {', '.join(volumes)}")
    among = set(channels) <= set(volumes)
    names = tuple(channels) if channels and among else tuple(volumes)
    places = tuple(volumes.index(name) for name in names)
    return Channels(() if among else tuple(channels), names, places, len(volumes))


def _is_numbered(source: Path) -> bool:
    """Whether the channels of a folder are files that end in 0000, 0001 ...

    Where a label map has the same name, the digits are the scan's.
    """
    images, labels = image_and_label_folders(source) or (source, None)
    scans = {stem(path) for path in scan_files(labels, None, [])} if labels else set()
    names = (stem(path) for path in scan_files(images, None, []))
    return any(name.endswith(_FIRST) and name not in scans for name in names)
