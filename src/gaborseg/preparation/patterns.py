"""Finding scans by two patterns: how the path of an image is built, and that of a label map.

A pattern leads from the input to the files. It is a glob (``*``, ``?``, ``[ab]``, ``**/`` for any
folders) with named fields; a field that comes twice has the same text in both places::

    {subject}/{subject}-{channel}.nii.gz             anna/anna-T1.nii.gz, anna/anna-FLAIR.nii.gz
    {participant}/*/{participant}_{session}_t1.nii   bo/mri/bo_2019_t1.nii
    images{split:T[rs]}/scan_{subject:0[0-4]*}.nii   imagesTr/scan_0123.nii

What follows a colon in a field is a glob that its text must match. ``group``, ``participant``,
``subject`` and ``session`` make up the scan's id, so that both patterns name the same of them;
``participant`` tells whose scan it is.
"""

import logging
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from operator import itemgetter
from pathlib import Path

from gaborseg.machine import encodable
from gaborseg.preparation.discovery import ONLY_CHANNEL, Found, only_role, paired, subject_id
from gaborseg.preparation.predefined import part_of
from gaborseg.scans import DataError, Named, Problem, scan_files

log = logging.getLogger(__name__)

_OF_IDS = ("group", "participant", "subject", "session")
_FIELDS = (*_OF_IDS, "channel", "split")
_COLUMNS = ("group", "session", "split")
"""Fields that become columns of the table of participants."""
_PARTS = re.compile(r"(\{[^{}]*\}|\*\*/|[*?]|\[[^\]/]+\])")
_GLOBS = {"**/": "(?:[^/]+/)*", "*": "[^/]*", "?": "[^/]"}
_MOST_LOOKED_AT = 500
"""Files among which the one is searched that is nearest to a pattern."""

_Fields = Mapping[str, str]


@dataclass(frozen=True)
class Pattern:
    """How the paths of some files are built, under a folder.

    Args:
        key: The setting that it was given as, for messages.
        text: The pattern.
        channels: What ``{channel}`` may be; anything, if there are none.

    Raises:
        DataError: It has a field that there is not, or leads out of the folder.

    Example:
        >>> Pattern("pattern", "{subject}/*_{channel}.nii").match("anna/x_T1.nii")
        {'subject': 'anna', 'channel': 'T1'}
    """

    key: str
    text: str
    channels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if unknown := [name for name in self.fields if name not in _FIELDS]:
            raise DataError(
                f"{self.key} may have the fields {', '.join(_FIELDS)}, got {{{unknown[0]}}} "
                f"in {self.text}"
            )
        if self.text.startswith("/") or ".." in self.text.split("/"):
            raise DataError(f"{self.key} must lead from input into its folders, got {self.text}")
        try:
            self.match("")
        except re.error as error:
            raise DataError(f"{self.key} must be a glob, got {self.text}: {error}") from error

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """Names of its fields, each once."""
        named = [one[1:-1].partition(":")[0] for one in _PARTS.findall(self.text) if one[0] == "{"]
        return tuple(dict.fromkeys(named))

    def match(self, path: str) -> dict[str, str] | None:
        """The text of each field in a path; None for another path."""
        found = self._whole.fullmatch(_composed(path))
        return found.groupdict() if found else None

    @cached_property
    def _whole(self) -> re.Pattern[str]:
        return re.compile("".join(expression for _, expression in self._pieces))

    @cached_property
    def _pieces(self) -> list[tuple[str, str]]:
        """The pattern piece by piece, with the regular expression of each; letters are single."""
        pieces: list[tuple[str, str]] = []
        seen: set[str] = set()
        for part in _PARTS.split(_composed(self.text)):
            if part[:1] != "{":
                pieces += _glob_pieces(part)
                continue
            name, _, glob = part[1:-1].partition(":")
            pieces.append((part, f"(?P={name})" if name in seen else self._field(name, glob)))
            seen.add(name)
        return pieces

    def _field(self, name: str, glob: str) -> str:
        """The expression of a field where it comes first."""
        pieces = [piece for part in _PARTS.split(glob) for piece in _glob_pieces(part)]
        inner = "".join(expression for _, expression in pieces)
        if name == "channel" and self.channels and not glob:
            inner = "|".join(map(re.escape, sorted(self.channels, key=len, reverse=True)))
        return f"(?P<{name}>{inner or '[^/]+'})"

    @cached_property
    def _beginnings(self) -> list[tuple[int, re.Pattern[str], str]]:
        """Its beginnings that end in a letter, longest first: pieces, expression, what follows."""
        texts, expressions = zip(*self._pieces, strict=True)
        return [
            (end, re.compile("".join(expressions[:end])), "".join(texts[end:]))
            for end in range(len(texts), 0, -1)
            if len(texts[end - 1]) == 1 and texts[end - 1] not in _GLOBS
        ]

    def agreement(self, path: str) -> tuple[int, str]:
        """How many pieces of the pattern a path begins with, and where the two part."""
        for count, beginning, rest in self._beginnings:
            if found := beginning.match(path):
                after, got = path[: found.end()], path[found.end() :] or "nothing"
                return count, f"after {after} must come {rest or 'the end'}, got {got}"
        return 0, f"it must begin with {self.text}"


def _glob_pieces(part: str) -> list[tuple[str, str]]:
    """A part of a glob, and its expression; plain text letter by letter."""
    if part in _GLOBS:
        return [(part, _GLOBS[part])]
    if _PARTS.fullmatch(part):
        inside = part[1:-1].replace("\\", "\\\\").replace("[", "\\[")
        return [(part, f"[^/{inside[1:]}]" if inside[0] in "!^" else f"[{inside}]")]
    return [(letter, re.escape(letter)) for letter in part]


@dataclass(frozen=True)
class Layout:
    """A way in which a data set is arranged: the patterns of its images and of its label maps.

    Raises:
        DataError: A pattern cannot be used, or the two do not identify a scan alike.
    """

    images: Pattern
    labels: Pattern

    def __post_init__(self) -> None:
        own, other = ([f for f in _OF_IDS if f in p.fields] for p in (self.images, self.labels))
        if own != other or not {"subject", "participant"} & {*own}:
            told = " and ".join(f"{p.key} {p.text}" for p in (self.images, self.labels))
            raise DataError(
                "pattern and label_pattern must identify a scan by the same fields, {subject} or "
                f"{{participant}} among them, got {told}"
            )
        channels = self.images.channels
        if len(channels) > 1 and "channel" not in self.images.fields:
            raise DataError(
                f"pattern must have {{channel}} for the {len(channels)} channels "
                f"{', '.join(channels)}, got {self.images.text}"
            )


@dataclass(frozen=True)
class _Match:
    """A file that fits a pattern."""

    path: Path
    fields: _Fields

    @property
    def scan(self) -> str:
        """The id of its scan."""
        return scan_of(self.fields)


def scan_of(fields: _Fields) -> str:
    """The id of a scan by the fields of a path, as in BIDS: sessions have a key."""
    named = [fields[one] for one in _OF_IDS[:-1] if one in fields]
    session = fields.get("session", "").replace("_", "-")
    return "_".join([*named, *([f"ses-{session}"] if session else [])])


@dataclass(frozen=True)
class _Fit:
    """What a layout finds in a folder."""

    root: Path
    layout: Layout
    files: dict[str, Path]
    images: list[_Match]
    labels: list[_Match]

    @property
    def complete(self) -> int:
        """How many scans have an image and a label map."""
        return len({one.scan for one in self.images} & {one.scan for one in self.labels})

    @property
    def others(self) -> dict[str, Path]:
        """The files that match neither pattern."""
        used = {one.path for one in (*self.images, *self.labels)}
        return {name: path for name, path in self.files.items() if path not in used}

    def counted(self) -> str:
        """How many files each pattern matches, and the nearest of those that match none."""
        text = (
            f"{self.layout.images.text} matches {_count(self.images, 'image')} and "
            f"{self.layout.labels.text} {_count(self.labels, 'label map')}, "
            f"of {_count(self.files, 'file')}"
        )
        others = self.others
        if not others:
            return text
        wanting = [p for p, found in self._found() if not found] or [p for p, _ in self._found()]
        names = list(islice(others, _MOST_LOOKED_AT))
        near = [(name, *pattern.agreement(name)) for pattern in wanting for name in names]
        name, _, why = max(near, key=itemgetter(1))
        return f"{text}; not matched: {len(others)}, of which the nearest is {name} ({why})"

    def _found(self) -> Iterator[tuple[Pattern, list[_Match]]]:
        yield self.layout.images, self.images
        yield self.layout.labels, self.labels

    def refusal(self) -> str | None:
        """Why the layout does not fit, with what could be done; None if it does."""
        if self.complete:
            return None
        if self.images and self.labels:
            first, second = (one[0].scan for one in (self.images, self.labels))
            return (
                f"{self.counted()}; no scan has both: the images are of {first} ..., the label "
                f"maps of {second} ..."
            )
        return self.counted() + self._deeper()

    def _deeper(self) -> str:
        """The hint that files lie in folders that a pattern does not lead through."""
        for pattern, found in self._found():
            deeper = replace(pattern, text=f"**/{pattern.text}")
            if not found and any(map(deeper.match, self.files)):
                return f"; files in deeper folders would match {pattern.key}={deeper.text}"
        return ""


def _count(things: Collection[object], name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def layouts_of(
    pattern: str | None,
    label_pattern: str | None,
    layouts: Sequence[Mapping[str, str]],
    channels: Sequence[str],
) -> list[Layout]:
    """The layouts that the settings of ``prepare`` ask for; none without patterns.

    Args:
        pattern: Of the images, if the user names one; then it alone counts.
        label_pattern: Of the label maps.
        layouts: Both patterns of each layout of a preset.
        channels: Names of the channels that are wanted; if none, those that there are.

    Raises:
        DataError: A pattern is missing or cannot be used.
    """
    if (pattern is None) != (label_pattern is None):
        missing = "pattern" if pattern is None else "label_pattern"
        raise DataError(f"pattern and label_pattern must be given together, got no {missing}")
    if pattern is not None and label_pattern is not None:
        layouts = [{"pattern": pattern, "label_pattern": label_pattern}]
    if strange := [one for one in layouts if {*one} != {"pattern", "label_pattern"}]:
        raise DataError(f"layouts must each have pattern and label_pattern, got {strange[0]}")
    return [
        Layout(
            Pattern("pattern", one["pattern"], tuple(channels)),
            Pattern("label_pattern", one["label_pattern"], tuple(channels)),
        )
        for one in layouts
    ]


def discover_layout(root: Path, layouts: Sequence[Layout], exclude: Path | None = None) -> Found:
    """The cases of a folder by the layout, of several, that finds most scans.

    Args:
        root: The folder.
        layouts: At least one.
        exclude: A folder that is not searched.

    Raises:
        DataError: No layout finds a scan with its label map, or the channels must be chosen.
    """
    problems: list[Problem] = []
    paths = scan_files(root, exclude, problems)
    files = {_composed(path.relative_to(root).as_posix()): path for path in paths}
    fits = [_fit(root, layout, files) for layout in layouts]
    best = max(fits, key=lambda fit: (fit.complete, len(fit.images) + len(fit.labels)))
    if refusal := best.refusal():
        tried = f" (the nearest of {len(fits)} layouts)" if len(fits) > 1 else ""
        raise DataError(f"no scan is found in {root}: {refusal}{tried}")
    log.info(f"{best.counted()}.")
    return _found(best, problems)


def _composed(text: str) -> str:
    """A path whose accents are written in one way."""
    return unicodedata.normalize("NFC", text)


def _fit(root: Path, layout: Layout, files: dict[str, Path]) -> _Fit:
    """What a layout finds; a file that both patterns match is a label map."""
    labels = list(_matches(layout.labels, files))
    known = {one.path for one in labels}
    images = [one for one in _matches(layout.images, files) if one.path not in known]
    return _Fit(root, layout, files, images, labels)


def _matches(pattern: Pattern, files: dict[str, Path]) -> Iterator[_Match]:
    for name, path in files.items():
        if (fields := pattern.match(name)) is not None:
            yield _Match(path, fields)


def _found(fit: _Fit, problems: Sequence[Problem]) -> Found:
    """The cases that a layout finds, with their people and the columns that paths tell."""
    wanted = fit.layout.images.channels
    only = wanted[0] if wanted else ONLY_CHANNEL
    images = [Named(one.path, one.scan, one.fields.get("channel", only)) for one in fit.images]
    labels = [Named(one.path, one.scan, "label") for one in fit.labels]
    channels = wanted or (only_role(images, "channels", "channels=[{}]"),)
    matched = {subject_id(one.scan): one.fields for one in (*fit.labels, *fit.images)}
    people = {
        subject: encodable(fields["participant"])
        for subject, fields in matched.items()
        if "participant" in fields
    }
    columns = {subject: _columns(fields) for subject, fields in matched.items()}
    found = paired(images, labels, channels, problems)
    return replace(found.with_people(people), columns=columns)


def _columns(fields: _Fields) -> dict[str, str]:
    """What a path tells of a scan, for the table of participants."""
    told = {name: encodable(fields[name]) for name in _COLUMNS if name in fields}
    return told | ({"split": part_of(told["split"])} if "split" in told else {})
