"""The work of `prepare`: find, inspect and write all scans."""

import logging
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from rich.table import Table

from gaborseg.data import PARTICIPANTS, PARTS, case_of
from gaborseg.interface import UserError, as_list, command, quote_values, show
from gaborseg.pictures import contact_sheets, prepared_viewer
from gaborseg.preparation.channels import Channels, chosen_channels
from gaborseg.preparation.discovery import Found, subject_id
from gaborseg.preparation.label_tables import channel_names
from gaborseg.preparation.manifest import with_table_of_people
from gaborseg.preparation.mapping import named_mapping, read_mapping
from gaborseg.preparation.masks import discover_masks, mask_names
from gaborseg.preparation.patterns import layouts_of
from gaborseg.preparation.predefined import write_split
from gaborseg.preparation.reading import Reading
from gaborseg.preparation.recipe import Recipe, check_choices, check_output
from gaborseg.preparation.survey import Survey, discover, inspect_all, take_stock
from gaborseg.preparation.writing import (
    lost_structures,
    write_description,
    write_problems,
    write_subjects,
)
from gaborseg.scans import DataError, Problem

log = logging.getLogger(__name__)


_EXCLUDED = "excluded.csv"


def prepare_scans(settings: SimpleNamespace) -> None:
    """Find, inspect and write all scans.

    Raises:
        UserError: There are problems that are not to be skipped; nothing was written.
        DataError: A setting, the input or the output cannot be used.
    """
    check_choices(settings)
    source, output = (
        Path(path).expanduser().absolute() for path in (settings.input, settings.output)
    )
    told = {name: getattr(settings, name) for name in ("size", "forms", "window")}
    check_output(output, told)
    labels, structures = settings.labels, as_list(settings.structures)
    mapping = None if labels is None else read_mapping(labels, structures)
    channels = chosen_channels(
        source, as_list(settings.channels), list(settings.volumes), channel_names(labels)
    )
    found = with_people(find(source, output, settings, channels), source, settings.participants)
    log.info(f"Found {len(found.cases)} scans with {' and '.join(found.channels)} and labels.")
    reading = Reading(
        settings.forms, settings.geometry, channels.volumes, channels.num_volumes,
        overlap=settings.overlap, window=settings.window and tuple(settings.window),
    )  # fmt: skip
    if settings.masks is not None:
        reading = replace(reading, masks=mask_names(found.cases, structures))
        mapping = named_mapping(reading.masks)
    inspections = inspect_all(found.cases, output, reading, len(found.channels), settings.processes)
    survey = take_stock(
        found, inspections, mapping, allow_empty=settings.empty == "allow", masks=reading.masks
    )
    problems = [problem.within(source) for problem in survey.problems]
    if problems:
        tell(problems, settings)
    if problems and not settings.skip_faulty:
        raise UserError(
            f"{len(problems)} problems, see the table; nothing was written. The first: "
            f"{problems[0].file} {problems[0].problem}. Mend them, or go on without those scans: "
            "skip_faulty=true"
        )
    if survey.mapping is None or not survey.cases:
        raise UserError("no scan is left that can be used; nothing was written")
    recipe = Recipe(settings.size, found.channels, survey.mapping, reading)
    check_output(output, recipe.as_json())
    write(settings, output, recipe, survey, problems, found.columns)


def find(source: Path, output: Path, settings: SimpleNamespace, channels: Channels) -> Found:
    """The scans of the input, whose they are, and the names of their channels.

    Raises:
        DataError: There are none, or a setting that says how to find them cannot be used.
    """
    layouts = layouts_of(settings.pattern, settings.label_pattern, settings.layouts, channels.roles)
    if settings.masks is None:
        found = discover(source, channels.roles, settings.label, output, layouts)
    elif layouts:
        raise DataError(f"masks must be null for a pattern, got {settings.masks}")
    else:
        found = discover_masks(source, settings.masks, channels.roles, output)
    if settings.remembered:
        told = "; ".join(map(str, settings.remembered))
        log.warning(f"note: the preset tells from memory, so check it: {told}")
    return channels.of(found).with_people(_people(settings.same_person))


def with_people(found: Found, source: Path, participants: str | None) -> Found:
    """The same cases, with what the table of participants tells of them.

    Args:
        found: The cases.
        source: The input; a ``participants.tsv`` in it is used if no table is given.
        participants: A table, or None.

    Raises:
        DataError: The table that is given cannot be used.
    """
    path = Path(participants).expanduser() if participants else source / PARTICIPANTS
    if not participants and not path.is_file():
        return found
    try:
        told = with_table_of_people(found, path)
    except DataError as error:
        if participants:
            raise
        log.warning(f"note: nothing is told of the people: {error}")
        return found
    names = sorted({name for known in told.columns.values() for name in known})
    silent = [subject for subject, known in told.columns.items() if names and not known]
    known = f"Known of the people, with {path}: {', '.join(names)}"
    log.info(f"{known}{_but_of(silent)}." if names else f"{path} tells whose scans they are.")
    return told


def _but_of(subjects: Sequence[str]) -> str:
    """Of whom a table tells nothing."""
    return f"; nothing of {len(subjects)} scans, {subjects[0]} first" if subjects else ""


def _people(groups: Sequence[object]) -> dict[str, str]:
    """The person of each scan in groups of scans of one person, called like their first.

    Raises:
        DataError: A group is no list.

    >>> _people([[1004, 1024]])
    {'sub-1004': 'sub-1004', 'sub-1024': 'sub-1004'}
    """
    people: dict[str, str] = {}
    for group in groups:
        if not isinstance(group, list) or not group:
            raise DataError(f"same_person must be lists as in [[1004,1024]], got {group} in it")
        people |= {subject_id(str(scan)): subject_id(str(group[0])) for scan in group}
    return people


def tell(problems: Sequence[Problem], settings: SimpleNamespace) -> None:
    """Show all problems in a table, and write it down where that is wanted."""
    table = Table(title="Problems")
    for heading in ("file", "problem", "what to do"):
        table.add_column(heading, overflow="fold")
    for problem in problems:
        table.add_row(problem.file, problem.problem, problem.remedy)
    show(table)
    if settings.problems:
        write_problems(Path(settings.problems).expanduser(), problems)


def write(
    settings: SimpleNamespace,
    output: Path,
    recipe: Recipe,
    survey: Survey,
    problems: Sequence[Problem],
    columns: Mapping[str, Mapping[str, str]],
) -> None:
    """Write the data set and say where everything is.

    Raises:
        UserError: A file has become unusable since it was inspected.
        DataError: The output cannot be written to.
    """
    failed = write_subjects(output, recipe, survey.cases, survey.inspections, settings.processes)
    if failed:
        tell(failed, settings)
        raise UserError("files have changed since they were checked; start the command again")
    cases = [
        case_of(output, case.subject, recipe.channels, case.participant) for case in survey.cases
    ]
    sheets = contact_sheets(output, cases, settings.processes)
    viewer = prepared_viewer(
        output, cases, recipe.mapping.names, settings.viewer, settings.processes
    )
    (output / _EXCLUDED).unlink(missing_ok=True)  # of an earlier preparation
    if problems:
        write_problems(output / _EXCLUDED, problems)
    about = {"name": settings.name or Path(settings.input).stem or "scans"}
    about |= {name: getattr(settings, name) for name in ("credit", "licence", "home_page")}
    write_description(output, recipe, survey.cases, survey.inspections, about, columns)
    split_file = write_split(output, survey.cases, columns)
    for name, subjects in lost_structures(output, survey.cases).items():
        log.warning(
            f"note: {name} is too small for {recipe.size}³ voxels in {len(subjects)} scans, "
            f"{subjects[0]} first: a larger size= keeps it"
        )
    for note in survey.notes():
        log.warning(f"note: {note}")
    log.info(
        f"Wrote {len(cases)} scans of {len({case.participant for case in cases})} people, "
        f"{recipe.size}³ voxels, {len(recipe.mapping.names)} structures, to {output}"
    )
    log.info(f"Look at {sheets[0]}{_scrolled(viewer)} before you train.")
    people = len({case.participant for case in cases})
    if people < len(PARTS):
        log.warning(f"note: a training needs {len(PARTS)} people: one to train, validate and test")
        return
    log.info(f"Train with: {_training(settings.output, recipe, split_file)}")


def _scrolled(viewer: Path | None) -> str:
    """What is said of the viewer after the contact sheet."""
    if viewer is None:
        return ""
    return f", and scroll through {viewer} ({viewer.stat().st_size / 1e6:.1f} MB),"


def _training(output: str, recipe: Recipe, split_file: Path | None) -> str:
    """The command that trains on the data set."""
    words = [command("train"), "data=folder", setting("data.root", output)]
    if recipe.mapping.ignore is not None:
        words.append(f"data.ignore={recipe.mapping.ignore}")
    if split_file is not None:
        words.append(setting("data.split_file", str(Path(output).expanduser() / split_file.name)))
    return " ".join(words)


def setting(key: str, path: str) -> str:
    """A setting as it is typed in a shell, quoted where Hydra or the shell need it.

    >>> setting("data.root", "out/a")
    'data.root=out/a'
    """
    plain = f"{key}={path}"
    if re.fullmatch(r"[\w./-]+", path):
        return plain
    return shlex.quote(*quote_values([plain], [key]))
