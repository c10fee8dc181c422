"""Finding images and their label maps: in a tree of well-named files, two folders, or a manifest.

A *role* is what a file is of its scan: the label map, or one of the channels. In a tree, as in
BIDS, a file's name ends with its role, and what comes before says whose it is::

    sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz    derivatives/seg/sub-01/sub-01_ses-2_dseg.nii.gz
    patient 7_flair.nrrd                         patient 7_seg.nrrd
    bert/T1.mgz                                  bert/aseg.mgz
    bert/mri/brain.mgz                           bert/mri/aseg.mgz            (FreeSurfer)

In two folders, ``images`` and ``labels``, the names must agree, but for a channel at the end.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gaborseg.data import Case, person_of, shared_files
from gaborseg.scans import (
    LABEL_ROLES,
    DataError,
    Named,
    Problem,
    image_and_label_folders,
    named_file,
    scan_files,
    stem,
)

ONLY_CHANNEL = "image"


@dataclass(frozen=True)
class Found:
    """Cases that have all their files, their channels, and what is wrong with the others.

    ``columns`` are what the paths tell of each subject beyond its id.
    """

    cases: tuple[Case, ...]
    channels: tuple[str, ...]
    problems: tuple[Problem, ...]
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def with_people(self, people: Mapping[str, str]) -> "Found":
        """The same; some subjects are scans of the people given for them.

        A person keeps one name, whether it is written as that of a scan is or not: ``anna`` and
        ``sub-anna`` are one.
        """
        told = [people.get(case.subject, case.participant) for case in self.cases]
        names: dict[str, str] = {}
        for name in told:
            usual = subject_id(name)
            names[usual] = name if names.get(usual, usual) == usual else names[usual]
        cases = (
            replace(case, participant=names[subject_id(name)])
            for case, name in zip(self.cases, told, strict=True)
        )
        return replace(self, cases=tuple(cases))


def discover_folder(
    root: Path,
    channels: Sequence[str] = (),
    label: str | None = None,
    exclude: Path | None = None,
) -> Found:
    """The cases of a folder.

    Args:
        root: Where to search.
        channels: Roles of the images; if none, the one that there is.
        label: Role of the label maps; if None, whichever of the usual ones there is.
        exclude: A folder that is not searched.

    Raises:
        DataError: There is nothing to be found, or it must be said which images or labels to take.
    """
    problems: list[Problem] = []
    files = list(scan_files(root, exclude, problems))
    images, labels = _two_folders(root, files, label) or _named_files(root, files, channels, label)
    if not images or not labels:
        missing = "images" if not images else "label maps"
        raise DataError(
            f"{root} holds no {missing} that are recognised: expected names like sub-01_T1w.nii.gz "
            "and sub-01_dseg.nii.gz, folders images and labels, or a csv file as input"
        )
    roles = tuple(channels) or (only_role(images, "channels", "channels=[{}]"),)
    label_role = label or only_role(labels, "label", "label={}")
    images = [image for image in images if image.role in roles]
    labels = [one for one in labels if one.role == label_role]
    return paired(images, labels, roles, problems)


def _two_folders(
    root: Path, files: Iterable[Path], label: str | None
) -> tuple[list[Named], list[Named]] | None:
    """Images and label maps of the folders ``images`` and ``labels``, if there are both."""
    places = image_and_label_folders(root)
    if places is None:
        return None
    images, labels = ([path for path in files if place in path.parents] for place in places)
    role = label or LABEL_ROLES[0]
    named = [Named(path, _without_role(stem(path), (role, *LABEL_ROLES)), role) for path in labels]
    scans = {one.scan for one in named}
    whole = any(stem(path) in scans for path in images)
    return [_image_of(path, whole) for path in images], named


def _image_of(path: Path, whole: bool) -> Named:
    """An image whose whole name is a label map's, or one with ``_<channel>`` after it."""
    name = stem(path)
    scan, _, role = name.rpartition("_")
    return Named(path, name, ONLY_CHANNEL) if whole or not scan else Named(path, scan, role)


def _named_files(
    root: Path, files: Iterable[Path], channels: Sequence[str], label: str | None
) -> tuple[list[Named], list[Named]]:
    """Images and label maps of a tree, told apart by the ends of their names."""
    label_roles = (label,) if label else LABEL_ROLES
    wanted = (*channels, *label_roles)
    not_images = {*label_roles, *LABEL_ROLES} - {*channels}
    named = [
        one
        for path in files
        for one in [named_file(path, wanted)]
        if path.parent != root or "_" in path.stem or one.role in wanted
    ]
    images = [
        one
        for one in named
        if one.role not in not_images
        and (one.role in channels or "derivatives" not in one.path.relative_to(root).parts)
    ]
    return images, [one for one in named if one.role in label_roles]


def _without_role(name: str, roles: Sequence[str]) -> str:
    """A name without the role at its end."""
    scan, _, role = name.rpartition("_")
    return scan if scan and role in roles else name


def only_role(files: Iterable[Named], what: str, setting: str) -> str:
    """The role that all files share.

    Raises:
        DataError: They have several.
    """
    counts: dict[str, int] = defaultdict(int)
    for file in files:
        counts[file.role] += 1
    if len(counts) > 1:
        listed = ", ".join(f"{role} ({count} files)" for role, count in sorted(counts.items()))
        raise DataError(
            f"{what} must be chosen, as in {setting.format(max(counts, key=counts.__getitem__))}: "
            f"there are {listed}"
        )
    return next(iter(counts))


def paired(
    images: Iterable[Named],
    labels: Iterable[Named],
    channels: tuple[str, ...],
    problems: Sequence[Problem],
) -> Found:
    """The scans that have one file for each role."""
    files: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for image in images:
        files[image.scan][f"{image.role} image"].append(image.path)
    for label in labels:
        files[label.scan]["label map"].append(label.path)
    wanted = [*(f"{role} image" for role in channels), "label map"]
    cases, found = [], [*problems]
    for scan, roles in sorted(files.items()):
        subject = subject_id(scan)
        for role in wanted:
            if len(roles[role]) != 1:
                found.append(_role_problem(subject, role, roles, wanted))
        if all(len(roles[role]) == 1 for role in wanted):
            *image_paths, label_path = (roles[role][0] for role in wanted)
            cases.append(Case(subject, tuple(image_paths), label_path, person_of(subject)))
    return unique(Found(tuple(cases), channels, tuple(found)))


def _role_problem(
    subject: str, role: str, roles: dict[str, list[Path]], wanted: Sequence[str]
) -> Problem:
    """Why a scan has not exactly one file for a role."""
    there = roles[role]
    if not there:
        other = next(path for one in wanted for path in roles[one])
        return Problem(str(other), f"has no {role}", f"add it, or leave {subject} out", subject)
    names = ", ".join(path.name for path in there[1:])
    remedy = "choose with channels= or label=, or list the files in a csv"
    return Problem(str(there[0]), f"is not the only {role} of {subject}: {names}", remedy, subject)


def unique(found: Found) -> Found:
    """The cases whose ids differ, for each is to be a folder; the others become problems."""
    counts = Counter(case.subject.casefold() for case in found.cases)
    twice = [case for case in found.cases if counts[case.subject.casefold()] > 1]
    problems = [
        Problem(str(case.images[0]), f"must have an id of its own, got {case.subject} twice",
                "give every scan another id", case.subject)
        for case in twice
    ]  # fmt: skip
    cases = tuple(case for case in found.cases if case not in twice)
    return replace(found, cases=cases, problems=(*found.problems, *problems))


def with_files_of_their_own(found: Found) -> Found:
    """The cases none of whose files is also another person's; the others become problems."""
    problems = [
        Problem(str(path), f"is the same file as {other}", "give every scan its own files; links "
                "may lead to a template", case.subject)
        for case, path, other in shared_files(found.cases)
    ]  # fmt: skip
    out = {problem.subject for problem in problems}
    cases = tuple(case for case in found.cases if case.subject not in out)
    return replace(found, cases=cases, problems=(*found.problems, *problems))


def subject_id(scan: str) -> str:
    """The id of a scan: a folder's name that begins with ``sub-``.

    >>> subject_id("patient 7/b")
    'sub-patient-7-b'
    """
    name = unicodedata.normalize("NFC", scan).removeprefix("sub-")
    return "sub-" + re.sub(r"[^\w-]+", "-", name).strip("-")
