"""A data set in a folder, laid out like BIDS derivatives.

::

    <root>/dataset.json                      name, structures, channels, credit, licence; and, if
                                             there are, unlabelled: structures by subject
    <root>/participants.tsv                  participant_id, in the order of the data set; and, if
                                             scans were repeated, participant: whose scan it is
    <root>/sub-01/anat/sub-01_T1w.nii.gz     one image per channel
    <root>/sub-01/anat/sub-01_dseg.nii.gz    label map: 0 is background, k is structures[k - 1]
"""

import csv
import io
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from gaborseg.data.cases import (
    EMPTY,
    SUBJECT_PREFIX,
    Case,
    Dataset,
    merged,
    person_of,
    shared_files,
    told_person,
)
from gaborseg.machine import cache_folder, load_json, of_cell, read_table, read_text
from gaborseg.scans import DataError

log = logging.getLogger(__name__)

DESCRIPTION = "dataset.json"
PARTICIPANTS = "participants.tsv"
UNLABELLED = "unlabelled"
"""In the description: by subject, the structures that nobody has looked for in its scan."""
Roots = str | Path | Sequence[str | Path]
MAX_STRUCTURES = 255
"""Label maps are kept as uint8."""


def case_of(
    root: Path, subject: str, channels: tuple[str, ...], participant: str | None = None
) -> Case:
    """The files of one subject, whether or not they exist.

    Its person is who is given, or else who its name tells.
    """
    stem = root / subject / "anat" / subject
    images = tuple(stem.with_name(f"{subject}_{channel}.nii.gz") for channel in channels)
    label = stem.with_name(f"{subject}_dseg.nii.gz")
    return Case(subject, images, label, participant or person_of(subject))


def write_volume(path: Path, voxels: NDArray, affine: NDArray) -> None:
    """Write a NIfTI file in millimetres, of the type of its voxels.

    A qform cannot say that axes are not at right angles; then the sform alone does.
    """
    volume = nib.Nifti1Image(voxels, affine)
    volume.header.set_xyzt_units("mm")
    volume.set_sform(affine, code="aligned")
    volume.set_qform(affine, code="aligned")
    if not np.allclose(volume.get_qform(), affine, atol=1e-3):
        volume.set_qform(None, code="unknown")
    nib.save(volume, path)


class Folder:
    """Images and label maps that are already prepared: one grid size, one set of structures.

    Args:
        root: The folder with ``dataset.json``; it is only read, never written to.
        cache: Where prepared volumes are kept; ``$GABORSEG_CACHE`` or ``~/.cache/gaborseg`` if
            not given.
    """

    def __init__(self, root: str | Path, cache: str | Path | None = None) -> None:
        self.root = Path(root).expanduser().absolute()
        self.cache = cache_folder(cache)

    def dataset(self) -> Dataset:
        """The cases of the folder, with all their files present.

        Raises:
            DataError: The folder, ``dataset.json``, the subjects or one of their files is missing,
                or ``dataset.json`` does not say what it must.
        """
        info = self._description()
        structures, channels = tuple(info["structures"]), tuple(info["channels"])
        people = self._people()
        missing = _unlabelled(info, people)
        cases = tuple(
            replace(case_of(self.root, name, channels, people[name]), unlabelled=missing[name])
            for name in people
        )
        if not cases:
            raise DataError(f"{self.root} holds no subject: expected folders named sub-*")
        if absent := [path for case in cases for path in case.files if not path.is_file()]:
            raise DataError.first_of([f"{path} is missing" for path in absent])
        _check_files(cases)
        return Dataset(self.root, info["name"], structures, channels, cases, info)

    def _description(self) -> dict[str, Any]:
        if not self.root.is_dir():
            raise DataError(f"{self.root} is not a folder: data.root must name an existing one")
        path = self.root / DESCRIPTION
        if not path.is_file():
            raise DataError(
                f"{path} is missing: it must hold name, structures (names of labels 1..n) "
                "and channels (suffixes of the image files)"
            )
        try:
            info = load_json(read_text(path))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path} cannot be read as JSON: {error}; mend it, or prepare the data again"
            ) from error
        if problem := _description_problem(info):
            raise DataError(f"{path}: {problem}")
        return info

    def _people(self) -> dict[str, str | None]:
        """Whose scan each subject is, in the data set's order; None if nothing says so."""
        path = self.root / PARTICIPANTS
        if not path.is_file():
            folders = sorted(folder for folder in self.root.glob("sub-*") if folder.is_dir())
            return dict.fromkeys(folder.name for folder in folders)
        try:
            people = dict(_listed_people(io.StringIO(read_text(path), newline="")))
        except (OSError, ValueError, csv.Error) as error:
            raise DataError(f"{path} cannot be read as a table: {error}") from error
        there = sorted(p.parent.name for p in self.root.glob(f"{SUBJECT_PREFIX}*/anat"))
        if unlisted := [name for name in there if name not in people]:
            log.warning(
                "%s lists %d subjects; %d folders beside it, %s first, are not listed and not used",
                path, len(people), len(unlisted), unlisted[0],
            )  # fmt: skip
        nameless = [subject for subject, person in people.items() if person is None]
        if 0 < len(nameless) < len(people):
            log.warning(
                "%s: %d of %d subjects, %s first, name no participant: their own names tell the "
                "person", path, len(nameless), len(people), nameless[0],
            )  # fmt: skip
        return people


def _check_files(cases: Sequence[Case]) -> None:
    """Check that people have files of their own.

    Raises:
        DataError: Two share one.
    """
    shared = [f"{path} is the same file as {other}" for _, path, other in shared_files(cases)]
    if shared:
        raise DataError.first_of(shared)


def participant_table(path: Path) -> list[dict[str, str]]:
    """The rows of a ``participants.tsv``, without blanks around what is in the cells.

    Raises:
        OSError: It cannot be read.
        ValueError: It has no column of subjects.
        csv.Error: It is no table.
    """
    table = read_table(io.StringIO(read_text(path), newline=""), delimiter="\t")
    if "participant_id" not in (table.fieldnames or ()):
        raise ValueError("it must have a column participant_id, and tabs between columns")
    return [
        {of_cell(str(name)): of_cell(cell or "").strip() for name, cell in row.items() if name}
        for row in table
    ]


def _listed_people(lines: Iterable[str]) -> Iterator[tuple[str, str | None]]:
    """The subjects of a ``participants.tsv``, and whose scan each is; None if it does not say.

    Raises:
        ValueError: A subject is no folder's name or listed twice, or there is no column of them.
    """
    table = read_table(lines, delimiter="\t")
    if "participant_id" not in (table.fieldnames or ()):
        raise ValueError("it must have a column participant_id, and tabs between columns")
    seen = set()
    for row in table:
        name = of_cell((row["participant_id"] or "").strip())
        if not name or Path(name).name != name or name in seen:
            raise ValueError(
                f"line {table.line_num}: participant_id must be a folder's name, once, got {name!r}"
            )
        seen.add(name)
        yield name, told_person(of_cell(row.get("participant") or ""))


class Folders:
    """Several prepared folders as one data set: see ``merged``.

    Args:
        roots: The folders, the first of which names the channels.
        cache: As for ``Folder``.

    Raises:
        DataError: There is none, or one is named twice.
    """

    def __init__(self, roots: Sequence[str | Path], cache: str | Path | None = None) -> None:
        self.folders = [Folder(root, cache) for root in roots]
        self.cache = cache_folder(cache)
        places = [folder.root.resolve() for folder in self.folders]
        if not places or len({*places}) < len(places):
            told = ", ".join(map(str, roots)) or "none"
            raise DataError(f"data.root must name each folder once, got {told}")

    def dataset(self) -> Dataset:
        """The cases of all folders.

        Raises:
            DataError: One cannot be used, or they do not belong together.
        """
        both = merged([folder.dataset() for folder in self.folders])
        _check_files(both.cases)
        return both


def in_folders(roots: Roots, cache: str | Path | None = None) -> Folder | Folders:
    """The data set in a folder, or that of several together."""
    return Folder(roots, cache) if isinstance(roots, str | Path) else Folders(roots, cache)


def _description_problem(info: object) -> str | None:
    """What is wrong with the content of a ``dataset.json``, or None."""
    if not isinstance(info, dict):
        return f"must be an object, got {type(info).__name__}"
    if not isinstance(info.get("name"), str):
        return f"name must be text, got {info.get('name')!r}"
    for key in ("structures", "channels"):
        names = info.get(key)
        if not isinstance(names, list) or not names or not all(map(is_name, names)):
            return f"{key} must be a list of names, got {names!r}"
        if len(set(names)) < len(names):
            return f"{key} must differ from one another, got {names!r}"
    if len(info["structures"]) > MAX_STRUCTURES:
        return f"structures must be at most {MAX_STRUCTURES}, got {len(info['structures'])}"
    if problem := _unlabelled_problem(info):
        return problem
    if not isinstance(info.get(EMPTY, []), list):
        return f"{EMPTY} must be a list of subjects, got {info[EMPTY]!r}"
    if strange := [name for name in info["channels"] if Path(name).name != name]:
        return f"channels must be a list of names of files, got {strange[0]!r}"
    return None


def _unlabelled_problem(info: dict[str, Any]) -> str | None:
    """What is wrong with the structures that a ``dataset.json`` says are not labelled, or None."""
    told = info.get(UNLABELLED, {})
    if not isinstance(told, dict) or not all(isinstance(names, list) for names in told.values()):
        return f"{UNLABELLED} must map subjects to lists of structures, got {told!r}"
    named = [name for names in told.values() for name in names]
    if strange := [name for name in named if name not in info["structures"]]:
        return f"{UNLABELLED} must name structures of the data set, got {strange[0]!r}"
    return None


def _unlabelled(info: dict[str, Any], subjects: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """The labels that nobody has looked for in the scan of each subject.

    Raises:
        DataError: A subject is not in the data set.
    """
    told = info.get(UNLABELLED, {})
    if strange := sorted({*told} - {*subjects}):
        raise DataError(f"{DESCRIPTION}: {UNLABELLED} names {strange[0]}, which is no subject")
    place = {name: label for label, name in enumerate(info["structures"], start=1)}
    return {
        subject: tuple(sorted({place[name] for name in told.get(subject, [])}))
        for subject in subjects
    }


def is_name(value: object) -> bool:
    """Return whether a value can be the name of a structure, as ``NCR/NET``: text in a line."""
    return isinstance(value, str) and value.isprintable() and value.strip() == value != ""
