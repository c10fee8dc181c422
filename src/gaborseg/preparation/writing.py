"""Writing a data set: a subject at a time and whole, so that it can be interrupted anywhere."""

import csv
import io
import json
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gaborseg.data import (
    DESCRIPTION,
    EMPTY,
    PARTICIPANTS,
    UNLABELLED,
    Case,
    case_of,
    locked,
    map_in_processes,
    participant_table,
    write_volume,
)
from gaborseg.machine import (
    as_cell,
    load_json,
    read_text,
    remove_partials,
    whole_folder,
    write_text,
)
from gaborseg.preparation.discovery import subject_id
from gaborseg.preparation.inspection import Inspection
from gaborseg.preparation.reading import files_of, read_images, read_labels
from gaborseg.preparation.recipe import Recipe
from gaborseg.scans import DataError, Problem, ScanError, clip, labels_to_prepared, to_prepared

log = logging.getLogger(__name__)

SOURCE = "source.json"
"""In a subject's folder: the files that it was made from, and what they held."""
_LOST = "lost"
"""In that file: names of structures that the label map had and the prepared one has not."""
_SCANS = "scans.csv"
_PREVIOUS = "participants.previous.tsv"
_ID, _PERSON = "participant_id", "participant"
"""Columns of the table of participants that name the subject, and whose scan it is."""
_COLUMNS = ("subject", "participant", "label", "orientation")
"""Columns of that table that a channel may be called like."""
PACKAGES = ("nibabel", "numpy", "simpleitk", "torch")


def remembered(output: Path, case: Case, num_channels: int) -> Inspection | None:
    """What was found in the files of a subject that is prepared already, without reading them.

    Files that have changed since are a problem.
    """
    path = output / case.subject / SOURCE
    if not path.exists():
        return None
    try:
        record = load_json(read_text(path))
        if record["files"] == _file_states(case):
            inspection = Inspection.from_json(record["inspection"])
            if len(inspection.intensities) == num_channels and isinstance(record[_LOST], list):
                return inspection
            raise ValueError("it does not tell of each image")
    except (OSError, ValueError, TypeError, KeyError):
        remedy = f"delete {output / case.subject} to prepare it again"
        return Inspection(case.subject, (Problem(str(path), "is damaged", remedy, case.subject),))
    problem = f"is not the file, or has changed, since {case.subject} was prepared"
    remedy = f"delete {output / case.subject} to prepare it again"
    changed = Problem(str(case.images[0]), problem, remedy, case.subject)
    return Inspection(case.subject, (changed,))


def _file_states(case: Case) -> list[list[Any]]:
    """Name, size and time of change of each file of a case; of a missing one the name alone."""
    states = []
    for path in files_of(case):
        try:
            state = path.stat()
            states.append([path.name, state.st_size, state.st_mtime_ns])
        except (OSError, RuntimeError):
            states.append([path.name])
    return states


def write_subjects(
    output: Path,
    recipe: Recipe,
    cases: Sequence[Case],
    inspections: Sequence[Inspection],
    processes: int | None = None,
) -> list[Problem]:
    """Write the folders of the subjects that are missing, in parallel.

    Returns:
        What has happened to files since they were inspected.

    Raises:
        DataError: The folder cannot be written to, or is another data set's by now.
    """
    with locked(output, ".preparation"):
        recipe.claim(output)
        remove_partials(output)
        pairs = [
            (case, inspection)
            for case, inspection in zip(cases, inspections, strict=True)
            if not (output / case.subject).exists()
        ]
        problems = map_in_processes(
            partial(_write_subject, output, recipe),
            pairs,
            title=f"Preparing {len(pairs)} of {len(cases)} scans",
            processes=processes,
        )
    return [problem for problem in problems if problem]


def _write_subject(output: Path, recipe: Recipe, pair: tuple[Case, Inspection]) -> Problem | None:
    """Write the folder of one subject; or what keeps its files from being read again."""
    case, inspection = pair
    record: dict[str, Any] = {"files": _file_states(case), "inspection": inspection.as_json()}
    try:
        with whole_folder(output / case.subject) as folder:
            record[_LOST] = write_scan(folder, recipe, case)
            (folder / SOURCE).write_text(json.dumps(record) + "\n", encoding="utf-8")
    except ScanError as error:
        return Problem.of(error, case.subject)
    return None


def write_scan(folder: Path, recipe: Recipe, case: Case) -> list[str]:
    """Write the prepared images and label map of one scan, all where its first image lies.

    Returns:
        Names of the structures that are too small to be in the prepared label map.

    Raises:
        ScanError: One of its files can no longer be used.
    """
    prepared = case_of(folder.parent, case.subject, recipe.channels)
    (folder / "anat").mkdir()
    affine: NDArray[np.float64] | None = None
    images = read_images(case, recipe.reading)
    for (_, scan), target in zip(images, prepared.images, strict=True):
        affine = scan.affine if affine is None else affine
        voxels = clip(torch.from_numpy(scan.voxels.astype("float32")), recipe.reading.window)
        cube, grid = to_prepared(voxels, affine, recipe.size)
        write_volume(folder / "anat" / target.name, cube.numpy(), grid.prepared_affine)
    labels = recipe.mapping.apply(read_labels(case, recipe.reading).ids)
    cube = labels_to_prepared(torch.from_numpy(labels), grid)
    write_volume(folder / "anat" / prepared.label.name, cube.numpy(), grid.prepared_affine)
    lost = {*np.unique(labels).tolist()} - {0, recipe.mapping.ignore, *cube.unique().tolist()}
    return [recipe.mapping.names[label - 1] for label in sorted(lost)]


def lost_structures(output: Path, cases: Sequence[Case]) -> dict[str, list[str]]:
    """Structures that are too small for the prepared grid, with the subjects that lost them."""
    lost: dict[str, list[str]] = {}
    for case in cases:
        record = load_json(read_text(output / case.subject / SOURCE))
        for name in record[_LOST]:
            lost.setdefault(name, []).append(case.subject)
    return lost


def write_description(
    output: Path,
    recipe: Recipe,
    cases: Sequence[Case],
    inspections: Sequence[Inspection],
    about: dict[str, Any],
    columns: Mapping[str, Mapping[str, str]],
) -> None:
    """Write what holds for all subjects: participants, the table of scans, ``dataset.json``.

    Of several commands that fill the folder at once, all three tables are of the last. Columns that
    somebody has added to the table of participants stay in it.

    Args:
        output: The data set.
        recipe: How it was made.
        cases: Its scans, in order.
        inspections: What they held.
        about: Name, credit, licence and home page.
        columns: More columns of the table of participants, for each subject.

    Raises:
        DataError: The table of participants that is there cannot be read.
    """
    rows = [_scan_row(recipe, *pair) for pair in zip(cases, inspections, strict=True)]
    pairs = zip(cases, inspections, strict=True)
    empty = [c.subject for c, one in pairs if not recipe.mapping.found_in(dict(one.voxels))]
    unlabelled = {one.subject: list(one.missing) for one in inspections if one.missing}
    description = {
        "name": about["name"],
        "structures": list(recipe.mapping.names),
        "channels": list(recipe.channels),
        "size": [recipe.size] * 3,
        "num_subjects": len(cases),
        **({EMPTY: empty} if empty else {}),
        **({UNLABELLED: unlabelled} if unlabelled else {}),
        "num_participants": len({case.participant for case in cases}),
        "credit": about["credit"],
        "licence": about["licence"],
        **({"home_page": about["home_page"]} if about["home_page"] else {}),
        "preparation": recipe.as_json(),
        "versions": {package: version(package) for package in PACKAGES},
    }
    with locked(output, ".preparation"):
        added = _added_columns(output / PARTICIPANTS)
        _keep_others(output / PARTICIPANTS, {*added} - {case.subject for case in cases})
        told = {s: {**added.get(s, {}), **columns.get(s, {})} for s in (c.subject for c in cases)}
        people = _people(cases, told)
        write_text(output / PARTICIPANTS, _as_table(people, delimiter="\t"))
        write_text(output / _SCANS, _as_csv(rows))
        write_text(output / DESCRIPTION, json.dumps(description, indent=2) + "\n")


def _added_columns(path: Path) -> dict[str, dict[str, str]]:
    """What a table of participants tells of each subject beyond its id and its person.

    Raises:
        DataError: It is there, and cannot be read.
    """
    if not path.exists():
        return {}
    try:
        rows = {subject_id(row[_ID]): _added_cells(row) for row in participant_table(path)}
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(
            f"{path} cannot be read, and may hold columns of yours: {error}; mend or delete it"
        ) from error
    return {subject: cells for subject, cells in rows.items() if cells}


def _added_cells(row: Mapping[str, str]) -> dict[str, str]:
    """The cells of a row that tell anything, but for its id and its person."""
    return {k: v for k, v in row.items() if k not in (_ID, _PERSON) and v not in ("", "n/a")}


def _keep_others(path: Path, subjects: Collection[str]) -> None:
    """Keep a table of participants beside the new one if it tells of subjects that this has not."""
    if subjects:
        kept = path.with_name(_PREVIOUS)
        write_text(kept, read_text(path))
        log.warning(f"note: {min(subjects)} is left out now; what is known of it is in {kept}")


def _people(
    cases: Sequence[Case], columns: Mapping[str, Mapping[str, str]]
) -> list[tuple[str, ...]]:
    """The rows of the table of participants, headings first."""
    more = sorted({name for case in cases for name in columns.get(case.subject, {})})
    rows = [
        (one.subject, one.participant, *(told.get(name, "n/a") for name in more))
        for one in cases
        for told in [columns.get(one.subject, {})]
    ]
    return [(_ID, _PERSON, *more), *rows]


def _scan_row(recipe: Recipe, case: Case, inspection: Inspection) -> dict[str, Any]:
    """One scan in the table: where it came from, its grid, intensities and volumes."""
    names = ("x", "y", "z")
    sides = [a * b for a, b in zip(inspection.shape, inspection.spacing, strict=True)]
    row: dict[str, Any] = {"subject": case.subject, "participant": case.participant}
    paths = case.images * len(recipe.channels) if recipe.reading.volumes else case.images
    for channel, path in zip(recipe.channels, paths, strict=True):
        row[f"{channel}_image" if channel in _COLUMNS else channel] = path
    row |= {"label": case.label, "orientation": inspection.orientation}
    row |= {f"size_{n}": one for n, one in zip(names, inspection.shape, strict=True)}
    row |= {f"spacing_{n}_mm": one for n, one in zip(names, inspection.spacing, strict=True)}
    row |= {"prepared_spacing_mm": round(max(sides) / recipe.size, 6)}
    for channel, statistics in zip(recipe.channels, inspection.intensities, strict=True):
        row |= {f"{channel}_{name}": value for name, value in statistics.items()}
    volumes = recipe.mapping.volumes(dict(inspection.voxels))
    voxel = inspection.voxel_mm3
    return row | {f"{name}_mm3": round(count * voxel, 3) for name, count in volumes.items()}


def write_problems(path: Path, problems: Sequence[Problem]) -> None:
    """Write problems as a csv file."""
    rows = [
        {"subject": one.subject, "file": one.file, "problem": one.problem, "what to do": one.remedy}
        for one in problems
    ]
    write_text(path, _as_csv(rows))


def _as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Rows of the same columns as the text of a csv file."""
    return _as_table([[*rows[0]], *(row.values() for row in rows)]) if rows else ""


def _as_table(rows: Iterable[Iterable[Any]], delimiter: str = ",") -> str:
    """Rows, headings first, as the text of a table."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerows(map(_cell, row) for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    return as_cell(str(value)) if isinstance(value, str | Path) else value
