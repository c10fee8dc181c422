"""Everything that is known before the first file is written: what can be used, and what cannot."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gaborseg.data import Case, map_in_processes
from gaborseg.preparation.discovery import (
    Found,
    discover_folder,
    subject_id,
    with_files_of_their_own,
)
from gaborseg.preparation.inspection import Inspection, inspect_case
from gaborseg.preparation.manifest import discover_manifest
from gaborseg.preparation.mapping import LabelMapping, plain_mapping
from gaborseg.preparation.patterns import Layout, Pattern, discover_layout, scan_of
from gaborseg.preparation.reading import Reading
from gaborseg.preparation.writing import remembered
from gaborseg.scans import DataError, Named, Problem, scan_files


@dataclass(frozen=True)
class Survey:
    """The scans of an input.

    Attributes:
        cases: Those that can be used.
        inspections: What they hold.
        mapping: Which of their ids is which structure; None if no scan can be used.
        problems: What is wrong with all the others.
        masks: Structures whose masks make the label maps, by id; none if these are files.
    """

    cases: tuple[Case, ...]
    inspections: tuple[Inspection, ...]
    mapping: LabelMapping | None
    problems: tuple[Problem, ...]
    masks: tuple[str, ...] = ()

    def notes(self) -> Iterator[str]:
        """What is no mistake, but better known."""
        if self.mapping is None:
            return
        found = [self.mapping.found_in(dict(each.voxels)) for each in self.inspections]
        there = set().union(*found)
        if empty := found.count(set()):
            yield f"{empty} scans hold no structure: loss=pcc learns nothing from them"
        if absent := [name for name in self.mapping.names if name not in there]:
            yield f"no label map holds {', '.join(absent)}: a network cannot learn that"
        for first, second in self.twins():
            yield f"{first} and {second} are the same scan; is one of them to go?"
        yield from self._notes_on_labels()
        vague = [one.subject for one in self.inspections if not one.oriented]
        if vague:
            yield (
                f"the headers of {len(vague)} scans, {vague[0]} first, do not say which side is "
                "left (qform and sform codes are 0): check the contact sheet"
            )

    def _notes_on_labels(self) -> Iterator[str]:
        """What was done to label maps and masks that a user should know."""
        for one in self.inspections:
            if one.moved_mm:
                yield (
                    f"the label map of {one.subject} lies up to {one.moved_mm:.3g} mm from its "
                    "image by its header, which was ignored (geometry=of_image)"
                )
            if one.overlap:
                yield f"masks of {one.subject} overlap in {one.overlap} voxels: the last has them"
        if self.masks and (empty := list(self._empty_masks())):
            name, subject = empty[0]
            count = len(self.inspections) * len(self.masks) - sum(
                len(one.missing) for one in self.inspections
            )
            yield f"{len(empty)} of {count} masks are empty, that of {name} in {subject} first"
        for name, subjects in self._without_mask().items():
            yield (
                f"{name} has no mask in {len(subjects)} scans, {subjects[0]} first, and counts as "
                "unlabelled there; if it is absent, add an empty mask"
            )

    def _empty_masks(self) -> Iterator[tuple[str, str]]:
        """Structures and subjects whose masks have no voxel."""
        for one in self.inspections:
            there = {number for number, _ in one.voxels}
            for number, name in enumerate(self.masks, start=1):
                if number not in there and name not in one.missing:
                    yield name, one.subject

    def _without_mask(self) -> dict[str, list[str]]:
        """The subjects without a mask of a structure, by its name."""
        missing: dict[str, list[str]] = {}
        for one in self.inspections:
            for name in one.missing:
                missing.setdefault(name, []).append(one.subject)
        return missing

    def twins(self) -> Iterator[tuple[str, str]]:
        """Scans that agree in all statistics with one that comes before."""
        seen: dict[object, str] = {}
        for one in self.inspections:
            content = (one.shape, one.voxels, *(tuple(s.items()) for s in one.intensities))
            if content in seen:
                yield seen[content], one.subject
            else:
                seen[content] = one.subject


def discover(
    source: Path,
    channels: Sequence[str] = (),
    label: str | None = None,
    output: Path | None = None,
    layouts: Sequence[Layout] = (),
) -> Found:
    """The cases of a folder or of a csv file; ``output`` is not searched.

    Raises:
        DataError: There is nothing to be found, or the choice of images or labels is open.
    """
    if layouts and not source.is_dir():
        raise DataError(f"input must be a folder for a pattern or a preset, got {source}")
    if layouts:
        return with_files_of_their_own(discover_layout(source, layouts, output))
    if source.is_dir():
        return with_files_of_their_own(discover_folder(source, channels, label, output))
    if source.is_file() and source.suffix.lower() in (".csv", ".tsv"):
        return with_files_of_their_own(discover_manifest(source, channels))
    raise DataError(f"input must be a folder or a csv file, got {source}")


def files_by_pattern(root: Path, pattern: Pattern, problems: list[Problem]) -> list[Named]:
    """The files under a folder that a pattern matches, with the ids of their scans.

    The role of a file is its channel, if the pattern tells it, else nothing.

    Args:
        root: The folder.
        pattern: It tells a scan from others by ``{subject}`` or ``{participant}``.
        problems: Folders that cannot be opened are added to it.

    Raises:
        DataError: The pattern tells no scan from others, or matches no file.
    """
    if not {"subject", "participant"} & {*pattern.fields}:
        raise DataError(
            f"{pattern.key} must have {{subject}} or {{participant}}, got {pattern.text}"
        )
    files = {path.relative_to(root).as_posix(): path for path in scan_files(root, None, problems)}
    matches = ((path, pattern.match(name)) for name, path in files.items())
    found = [
        Named(path, subject_id(scan_of(fields)), fields.get("channel", ""))
        for path, fields in matches
        if fields is not None
    ]
    if not found:
        near = max(((*pattern.agreement(name), name) for name in files), default=(0, "", "none"))
        raise DataError(
            f"{pattern.key} {pattern.text} must match a file in {root}, got none of {len(files)}; "
            f"the nearest is {near[2]} ({near[1]})"
        )
    return found


def inspect_all(
    cases: Sequence[Case],
    output: Path,
    reading: Reading,
    num_channels: int,
    processes: int | None = None,
) -> list[Inspection]:
    """What all cases hold; those that are prepared already are not read again."""
    known = {case: remembered(output, case, num_channels) for case in cases}
    new = [case for case, inspection in known.items() if inspection is None]
    title = f"Checking {len(new)} scans"
    looked = map_in_processes(partial(inspect_case, reading), new, title=title, processes=processes)
    found = known | dict(zip(new, looked, strict=True))
    return [inspection for case in cases if (inspection := found[case]) is not None]


def take_stock(
    found: Found,
    inspections: Sequence[Inspection],
    mapping: LabelMapping | None = None,
    *,
    allow_empty: bool = False,
    masks: tuple[str, ...] = (),
) -> Survey:
    """Tell what can be used from what cannot.

    Args:
        found: The cases.
        inspections: What they hold.
        mapping: Which ids are which structures; None: each id is one.
        allow_empty: Whether scans without any structure can be used.
        masks: Structures whose masks make the label maps.

    Raises:
        DataError: There are more ids than labels.
    """
    problems = [*found.problems, *(one for each in inspections for one in each.problems)]
    pairs = [p for p in zip(found.cases, inspections, strict=True) if not p[1].problems]
    if pairs and mapping is None:
        mapping = plain_mapping(one for _, each in pairs for one, _ in each.voxels)
    if mapping is not None:
        unmapped = list(_mapping_problems(pairs, mapping, allow_empty))
        problems += unmapped
        out = {problem.subject for problem in unmapped}
        pairs = [pair for pair in pairs if pair[0].subject not in out]
    return Survey(
        tuple(case for case, _ in pairs),
        tuple(inspection for _, inspection in pairs),
        mapping,
        tuple(problems),
        masks,
    )


def _mapping_problems(
    pairs: Sequence[tuple[Case, Inspection]], mapping: LabelMapping, allow_empty: bool
) -> Iterator[Problem]:
    """Label maps with ids that the mapping does not know, or without any structure."""
    for case, inspection in pairs:
        voxels = dict(inspection.voxels)
        if unknown := mapping.unknown(voxels):
            listed = ", ".join(map(str, unknown[:8])) + (" ..." if len(unknown) > 8 else "")
            problem = f"holds ids that labels does not know: {listed}"
            remedy = "add them to the mapping; as background to ignore them"
            yield Problem(str(case.label), problem, remedy, case.subject)
        elif not (allow_empty or mapping.found_in(voxels)):
            problem = "holds no structure, background alone"
            remedy = "leave the scan out; or train on it as a control: empty=allow"
            yield Problem(str(case.label), problem, remedy, case.subject)
