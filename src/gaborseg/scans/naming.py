"""What the names of files and folders say: whose scan, and which of its images."""

import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gaborseg.scans.files import is_scan, scan_stem
from gaborseg.scans.pairs import files_of_scan
from gaborseg.scans.problems import Problem

SETTINGS = "preparation.json"
"""A folder that holds this file has been prepared; it is not searched for scans."""


LABEL_ROLES = ("dseg", "seg", "label", "labels", "mask", "segmentation", "aseg")


_IMAGE_FOLDERS, _LABEL_FOLDERS = ("images", "imagesTr"), ("labels", "labelsTr")


_NOT_ANATOMY = {"func", "dwi", "fmap", "perf", "meg", "eeg"}


_ENTITIES = ("sub", "ses", "run")
"""What tells one scan from another in a BIDS name; others say how a file came about."""


_NOT_OF_FILES = ("/dev", "/proc", "/sys")
"""Folders that a link may lead to, and that hold no files of anybody's."""


@dataclass(frozen=True)
class Named:
    """A file, the scan that its name belongs to, and its role."""

    path: Path
    scan: str
    role: str


def scan_files(root: Path, exclude: Path | None, problems: list[Problem]) -> Iterator[Path]:
    """All files under a folder whose names end like a scan's, in order; links are followed once.

    A folder that is named like a scan is given as if it were one.
    """

    def unreadable(error: OSError) -> None:
        problems.append(Problem(str(error.filename), f"{error.strerror}", "check permissions"))

    seen: set[str] = set()
    for folder, folders, names in os.walk(root, onerror=unreadable, followlinks=True):
        here = Path(folder)
        real = os.path.realpath(folder)
        skipped = (
            real in seen or real in _NOT_OF_FILES or (here != root and (here / SETTINGS).exists())
        )
        seen.add(real)
        if skipped or here == exclude or (here != root and here.name in _NOT_ANATOMY):
            folders.clear()
            continue
        scans = [name for name in folders if is_scan(Path(name))]
        folders[:] = sorted(
            name for name in folders if name not in scans and not name.startswith(".")
        )
        names = [name for name in (*names, *scans) if not name.startswith(".")]
        names = [name for name in names if not _is_second(name, names)]
        yield from (here / name for name in sorted(names) if is_scan(Path(name)))


def _is_second(name: str, names: Sequence[str]) -> bool:
    """Whether a file is the voxels of a header beside it, which stands for the scan."""
    first, *others = files_of_scan(Path(name)) if name.lower().endswith(".img") else (Path(name),)
    return bool(others) and first.name in names


def image_and_label_folders(root: Path) -> tuple[Path, Path] | None:
    """The folders ``images`` and ``labels`` (or ``imagesTr``, ``labelsTr``), if there are both."""
    images, labels = (
        next((root / name for name in names if (root / name).is_dir()), None)
        for names in (_IMAGE_FOLDERS, _LABEL_FOLDERS)
    )
    return (images, labels) if images and labels else None


def named_file(path: Path, wanted: Sequence[str]) -> Named:
    """Whose scan a file is, and its role: one of those wanted, or the end of its name.

    Before a role that is wanted may be a dash, as in BraTS, but for names of BIDS, where it stands
    between a key and its value. Where the whole name is the role, the folder's name is the scan's.
    """
    name = stem(path)
    marks = ("_",) if name.startswith("sub-") else ("_", "-")
    found = [role for role in wanted if f"_{name}".endswith(tuple(mark + role for mark in marks))]
    role = max(found, key=len, default=name.rpartition("_")[2])
    scan = name.removesuffix(role).removesuffix("_").removesuffix("-")
    folder = path.parents[1] if path.parent.name == "mri" else path.parent
    return Named(path, _scan_entities(scan or unicodedata.normalize("NFC", folder.name)), role)


def stem(path: Path) -> str:
    """The name of a file without its ending; accents are written in one way."""
    return unicodedata.normalize("NFC", scan_stem(path))


def _scan_entities(scan: str) -> str:
    """What identifies the scan in a BIDS name; other names as they are.

    >>> _scan_entities("sub-01_ses-2_desc-aseg")
    'sub-01_ses-2'
    """
    if not scan.startswith("sub-"):
        return scan
    return "_".join(part for part in scan.split("_") if part.partition("-")[0] in _ENTITIES)
