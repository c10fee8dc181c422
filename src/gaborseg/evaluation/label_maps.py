"""Folders of label maps, predicted and true: which belong together, and what they score."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from gaborseg.data import map_in_processes, whole_numbers
from gaborseg.metrics import case_scores, voxel_tolerance
from gaborseg.preparation import LabelMapping, Pattern, files_by_pattern
from gaborseg.runs import Score
from gaborseg.scans import (
    DataError,
    Problem,
    open_scan,
    read_scan,
    scan_files,
    scan_stem,
    voxel_sides,
)

_LABELS = "_dseg"
"""End of a label map's name before the extension, if it has one."""
_AFFINE_TOLERANCE = 1e-3
"""Millimetres: affines are often stored in single precision."""
_MOST_LABELS = 4096
"""More different values than this in one file are taken for an image."""
_VOLUME, _TRUE_VOLUME = 3, 4
"""Places of the volumes among the numbers of a label."""
_ABSENT = (math.nan, math.nan, math.nan, 0.0, 0.0)
"""Scores and volumes of a structure that neither map has."""

_Numbers = dict[int, tuple[float, ...]]


@dataclass(frozen=True)
class _LabelMaps:
    """The predicted and the true label map of a subject.

    ``unlabelled`` are the labels of structures that nobody has looked for in its truth.
    """

    subject: str
    prediction: Path
    truth: Path
    unlabelled: tuple[int, ...] = ()

    @property
    def true_name(self) -> str:
        """What the truth's file calls the subject."""
        return scan_stem(self.truth).removesuffix(_LABELS)


def find_pairs(
    predictions: Path, truth: Path, label_pattern: str | None = None
) -> tuple[list[_LabelMaps], int]:
    """All predictions with their truths, and how many truths are left over.

    A truth belongs to the prediction of the same name. Extensions and ``_dseg`` are no part of a
    name; a prediction that also names its image, as in ``sub-01_T1w``, takes the truth ``sub-01``,
    but not one that names another scan, as in ``sub-01_ses-2``. A folder may be compared with
    itself, but no link in one may lead to the other.

    Args:
        predictions: The folder of the predictions.
        truth: That of the truths.
        label_pattern: How the truths are called, as for ``gaborseg prepare``; their names are then
            those that this and ``gaborseg predict pattern=...`` give to the scans.

    Raises:
        DataError: A folder is missing or empty, a prediction has no truth, or two have the same.
    """
    predicted, true = _find_label_maps(predictions), _find_label_maps(truth, label_pattern)
    pairs: list[_LabelMaps] = []
    used: dict[tuple[int, int], Path] = {}
    problems = []
    for name, path in predicted.items():
        owner = name if name in true else _without_image(name)
        if owner not in true:
            problems.append(f"{path} has no truth: expected {name} in {truth}")
        elif (earlier := used.setdefault(_identity(true[owner]), path)) != path:
            problems.append(f"{path} and {earlier} have the same truth, {owner}")
        elif path != true[owner] and _identity(path) == _identity(true[owner]):
            problems.append(f"{path} is the same file as its truth, {true[owner]}")
        else:
            pairs.append(_LabelMaps(name, path, true[owner]))
    if problems:
        raise DataError.first_of(problems)
    return pairs, len(true) - len({pair.truth for pair in pairs})


def _identity(path: Path) -> tuple[int, int]:
    """What two paths share that lead to one file."""
    state = path.stat()
    return state.st_dev, state.st_ino


def _find_label_maps(folder: Path, pattern: str | None = None) -> dict[str, Path]:
    """The label maps of a folder by name: ``*_dseg.*`` in it and its subfolders, if there are any.

    Else all image files in the folder itself; with a pattern, all that it matches.

    Raises:
        DataError: The folder is missing, holds no label map, or two of the same name.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder")
    unreadable: list[Problem] = []
    if pattern is None:
        every = list(scan_files(folder, None, unreadable))
        files = [path for path in every if scan_stem(path).endswith(_LABELS)]
        files = sorted(files or (path for path in every if path.parent == folder))
        named = [(scan_stem(path).removesuffix(_LABELS), path) for path in files]
    else:
        matched = files_by_pattern(folder, Pattern("label_pattern", pattern), unreadable)
        named = [(one.scan, one.path) for one in matched]
    if unreadable:
        raise DataError(f"{unreadable[0].file} cannot be searched: {unreadable[0].problem}")
    if not named:
        raise DataError(f"{folder} holds no label map: expected files such as sub-01.nii.gz")
    found: dict[str, Path] = {}
    for name, path in named:
        if name in found:
            raise DataError(f"{path} and {found[name]} are both of {name}")
        found[name] = path
    return found


def _without_image(name: str) -> str:
    """A name without the image at its end: letters and digits, or a channel's number.

    >>> [_without_image(f"sub-01_{end}") for end in ("T1w", "0000", "ses-2", "2")]
    ['sub-01', 'sub-01', 'sub-01_ses-2', 'sub-01_2']
    """
    return re.sub(r"_([A-Za-z][A-Za-z0-9]*|\d{4})$", "", name)


def tolerance_of(truth: Path, label_pattern: str | None = None) -> float:
    """The NSD tolerance of a folder of true label maps: the longest voxel side of all, in mm.

    Raises:
        DataError: A file cannot be read.
    """
    paths = _find_label_maps(truth, label_pattern).values()
    return voxel_tolerance(open_scan(path).placement.affine for path in paths)


def score_pairs(
    pairs: Sequence[_LabelMaps],
    structures: Sequence[str] | None,
    tolerance: float,
    mapping: LabelMapping | None = None,
    ignore: int | None = None,
) -> list[Score]:
    """Scores of all pairs.

    Args:
        pairs: What is scored.
        structures: Names of the labels 1 ... n; without, those that occur are named by number.
        tolerance: Millimetres that a surface may be off (NSD).
        mapping: Ids of the structures in the truth; None: it holds the same labels.
        ignore: Label of voxels of the truth that nobody has labelled and that do not count; with a
            mapping, that says so.

    Raises:
        DataError: A file cannot be read, is no label map, or does not lie on its truth's grid.
    """
    last = None if structures is None else len(structures)
    ignore = ignore if mapping is None else mapping.ignore
    score = partial(_score_pair, last=last, tolerance=tolerance, mapping=mapping, ignore=ignore)
    results = map_in_processes(score, pairs, title="Scoring label maps")
    if problems := [result for result in results if isinstance(result, str)]:
        raise DataError.first_of(problems)
    found = [result for result in results if not isinstance(result, str)]
    _check_common_labels(found)
    names = dict(enumerate(structures or (), start=1))
    if structures is None:
        names = {label: f"label_{label}" for label in sorted({k for own in found for k in own})}
    return [
        Score(pair.subject, name, *own.get(label, _ABSENT))
        for pair, own in zip(pairs, found, strict=True)
        for label, name in names.items()
    ]


def _check_common_labels(found: Sequence[_Numbers]) -> None:
    """Check that some label occurs in both folders, if both have any at all.

    Raises:
        DataError: None does: they number the structures differently.
    """
    predicted, true = (
        {label for own in found for label, row in own.items() if row[column] > 0}
        for column in (_VOLUME, _TRUE_VOLUME)
    )
    if predicted and true and not predicted & true:
        some = " and ".join(", ".join(map(str, sorted(ids)[:5])) for ids in (predicted, true))
        raise DataError(
            f"predictions and truth must have labels in common, got {some}: "
            "say by labels=... which ids of the truth are which structure"
        )


def _score_pair(
    pair: _LabelMaps,
    *,
    last: int | None,
    tolerance: float,
    mapping: LabelMapping | None,
    ignore: int | None,
) -> _Numbers | str:
    """Dice, HD95, NSD, volume and true volume of each label that occurs, or what is wrong.

    Args:
        pair: The files.
        last: The greatest label that has a name; any if None.
        tolerance: Millimetres that a surface may be off (NSD).
        mapping: Ids of the structures in the truth.
        ignore: Label of voxels of the truth that do not count.
    """
    try:
        predicted, affine = _read_labels(pair.prediction, last)
        true, true_affine = _read_labels(pair.truth, last, mapping, ignore)
        _check_grids(pair, (predicted.shape, affine), (true.shape, true_affine))
    except DataError as error:
        return str(error)
    if ignore is not None:
        unlabelled = true == ignore
        predicted, true = (np.where(unlabelled, 0, labels) for labels in (predicted, true))
    predicted = np.where(np.isin(predicted, pair.unlabelled), 0, predicted)
    values = np.union1d(predicted, true)
    values = np.concatenate([[0], values[values > 0]])
    scores = case_scores(
        torch.from_numpy(np.searchsorted(values, predicted)),
        torch.from_numpy(np.searchsorted(values, true)),
        len(values) - 1,
        spacing=voxel_sides(affine).tolist(),
        tolerance=tolerance,
    )
    columns = (column.tolist() for column in scores)
    return dict(zip(values[1:].tolist(), zip(*columns, strict=True), strict=True))


def _read_labels(
    path: Path,
    last: int | None,
    mapping: LabelMapping | None = None,
    ignore: int | None = None,
) -> tuple[NDArray[np.integer], NDArray]:
    """The labels (X, Y, Z) in a file, or those that its ids are mapped to, and its affine (4, 4).

    Raises:
        DataError: It cannot be read, or holds something else than the integers 0 ... ``last`` and
            ``ignore``, or an id that is not mapped.
    """
    scan = read_scan(path)
    labels = whole_numbers(path, scan.voxels)
    values = np.unique(labels)
    if mapping is not None:
        if unknown := mapping.unknown(values.tolist()):
            raise DataError(
                f"{path} holds ids that labels does not know, {unknown[0]} first: add them to the "
                "mapping; as background to ignore them"
            )
        return mapping.apply(labels), scan.affine
    if ignore is not None:
        values = np.unique(np.where(labels == ignore, 0, labels))
    if values[0] < 0 or (last is not None and values[-1] > last):
        wrong = values[0] if values[0] < 0 else values[-1]
        raise DataError(f"{path} must hold labels from 0 to {last or 'any number'}, got {wrong}")
    if len(values) > _MOST_LABELS:
        raise DataError(f"{path} must hold at most {_MOST_LABELS} labels, got {len(values)}")
    return labels, scan.affine


Grid = tuple[tuple[int, ...], NDArray]


def _check_grids(pair: _LabelMaps, prediction: Grid, truth: Grid) -> None:
    """Check that prediction and truth, given shape and affine, have their voxels in one place.

    Raises:
        DataError: They have not; the message names both files.
    """
    files = f"{pair.prediction} and {pair.truth}"
    (shape, affine), (true_shape, true_affine) = prediction, truth
    if shape != true_shape:
        raise DataError(f"{files} must share a shape, got {shape} and {true_shape}")
    difference = np.abs(affine - true_affine).max()
    if not difference < _AFFINE_TOLERANCE:
        raise DataError(f"{files} must share an affine, they differ by {difference:.3g} mm")
