"""A data set in a folder, laid out like BIDS derivatives.

::

    <root>/dataset.json                      name, structures, channels, credit, licence
    <root>/participants.tsv                  participant_id, in the order of the data set; and, if
                                             scans were repeated, participant: whose scan it is
    <root>/sub-01/anat/sub-01_T1w.nii.gz     one image per channel
    <root>/sub-01/anat/sub-01_dseg.nii.gz    label map: 0 is background, k is structures[k - 1]
"""

import csv
import io
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from gaborseg.data.cases import Case, Dataset
from gaborseg.machine import cache_folder, load_json, read_text
from gaborseg.scans import DataError

DESCRIPTION = "dataset.json"
PARTICIPANTS = "participants.tsv"
MAX_STRUCTURES = 255
"""Label maps are kept as uint8."""


def case_of(
    root: Path, subject: str, channels: tuple[str, ...], participant: str | None = None
) -> Case:
    """The files of one subject, whether or not they exist; a person of its own if none is given."""
    stem = root / subject / "anat" / subject
    images = tuple(stem.with_name(f"{subject}_{channel}.nii.gz") for channel in channels)
    label = stem.with_name(f"{subject}_dseg.nii.gz")
    return Case(subject, images, label, participant or subject)


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
        cases = tuple(case_of(self.root, name, channels, people[name]) for name in people)
        if not cases:
            raise DataError(f"{self.root} holds no subject: expected folders named sub-*")
        missing = [path for case in cases for path in case.files if not path.is_file()]
        if missing:
            raise DataError.first_of([f"{path} is missing" for path in missing])
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
            raise DataError(f"{path} cannot be read as JSON: {error}") from error
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
            lines = io.StringIO(read_text(path), newline="")
            rows = list(csv.DictReader(lines, delimiter="\t"))
        except (OSError, ValueError, csv.Error) as error:
            raise DataError(f"{path} cannot be read as a table: {error}") from error
        names = [row.get("participant_id") or "" for row in rows]
        for name in names:
            if not name or Path(name).name != name or names.count(name) > 1:
                raise DataError(
                    f"{path}: every participant_id must be a folder's name, once, got {name!r}"
                )
        return {name: row.get("participant") for name, row in zip(names, rows, strict=True)}


def _description_problem(info: object) -> str | None:
    """What is wrong with the content of a ``dataset.json``, or None."""
    if not isinstance(info, dict):
        return f"must be an object, got {type(info).__name__}"
    if not isinstance(info.get("name"), str):
        return f"name must be text, got {info.get('name')!r}"
    for key in ("structures", "channels"):
        names = info.get(key)
        if (
            not isinstance(names, list)
            or not names
            or not all(isinstance(name, str) and name and Path(name).name == name for name in names)
        ):
            return f"{key} must be a list of names, got {names!r}"
        if len(set(names)) < len(names):
            return f"{key} must differ from one another, got {names!r}"
    if len(info["structures"]) > MAX_STRUCTURES:
        return f"structures must be at most {MAX_STRUCTURES}, got {len(info['structures'])}"
    return None
