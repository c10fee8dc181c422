"""The viewer beside the contact sheet: scans and labels of prepared subjects, slice by slice."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gaborseg.data import Case, map_in_processes
from gaborseg.machine import encodable, write_text
from gaborseg.pictures.viewer.sheet import viewer_book, viewer_page
from gaborseg.pictures.viewer.volumes import MOST_VOXELS, viewer_case
from gaborseg.scans import read_scan

_NONE, _SOME, _ALL = "none", "some", "all"
PREPARED_VIEWERS = (_NONE, _SOME, _ALL)
"""Which subjects the viewer can show: none, some that are evenly spread, or all."""
_SOME_SUBJECTS = 12
_MOST_BYTES = 100_000_000
"""Size of the file, about; more subjects are shown with fewer voxels each."""
_BYTES = 1.0
"""Of the file, for a voxel of a scan with its label; less where the scan is smooth."""


def prepared_viewer(
    output: Path,
    cases: Sequence[Case],
    structures: Sequence[str],
    choice: str,
    processes: int | None = None,
) -> Path | None:
    """Write ``viewer.html``, which shows prepared cases and their labels; return its path.

    It holds the first channel. Labels that are no structure are shown as background.

    Args:
        output: Folder of the data set.
        cases: All prepared cases.
        structures: Names of the labels 1 ... n.
        choice: ``"some"``: twelve subjects, evenly spread over all; ``"all"``; ``"none"``.
        processes: Number of parallel processes; None: one per processor.

    Returns:
        The file, None if none is wanted.
    """
    shown = _chosen(cases, choice)
    if not shown:
        return None
    pack = _packer(len(structures), len(shown))
    packed = map_in_processes(pack, shown, title="Packing the viewer", processes=processes)
    title = f"{len(shown)} of {len(cases)} prepared subjects"
    path = output / "viewer.html"
    write_text(path, viewer_page(title, viewer_book(structures, packed)))
    return path


def _chosen(cases: Sequence[Case], choice: str) -> list[Case]:
    if choice == _ALL:
        return list(cases)
    count = 0 if choice == _NONE else min(_SOME_SUBJECTS, len(cases))
    places = np.linspace(0, len(cases) - 1, count).round().astype(int)
    return [cases[place] for place in places]


def _packer(num_structures: int, num_cases: int) -> Callable[[Case], dict[str, Any]]:
    """Return what packs a case so finely that all of them fit."""
    side = math.floor((_MOST_BYTES / _BYTES / num_cases) ** (1 / 3))
    return partial(_packed, num_structures, min(side, MOST_VOXELS))


def _packed(num_structures: int, side: int, case: Case) -> dict[str, Any]:
    image, labels = read_scan(case.images[0]), read_scan(case.label).voxels
    known = np.where(labels <= num_structures, labels, 0)
    name = encodable(case.subject)
    return viewer_case(name, image.voxels, {"labels": known}, image.affine, most_voxels=side)
