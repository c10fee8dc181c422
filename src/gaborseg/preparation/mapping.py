"""Which ids of a label map stand for which structure: ``labels.yaml`` files, and those shipped.

Colour tables and ``dataset.json`` of other programs are read too.

A file maps ids to names, several ids and ranges to a key if wanted; the order of the names is the
order of the labels 1..n, ``background`` is what is no structure, and ``ignore`` what nobody has
labelled; it becomes label 255::

    17 53: hippocampus
    1000-1035 2000-2035: cerebral_grey
    24: background
    999: ignore
"""

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import yaml
from numpy.typing import NDArray

from gaborseg.data import MAX_STRUCTURES, is_name, parse_ids
from gaborseg.interface import CONFIGURATIONS
from gaborseg.machine import load_yaml, read_text
from gaborseg.preparation.label_tables import read_label_table
from gaborseg.scans import DataError

_SHIPPED = Path(__file__).parent / "labels"
_BACKGROUND, _IGNORED = "background", "ignore"
_IGNORED_LABEL = MAX_STRUCTURES
"""What ids become that stand for voxels without a label."""
_ONE_ID = re.compile(r"-?\d{1,9}", re.ASCII)
_IDS = re.compile(r"\d{1,9}(-\d{1,9})?( +\d{1,9}(-\d{1,9})?)*", re.ASCII)
_MOST_IDS = 100_000


@dataclass(frozen=True)
class LabelMapping:
    """The ids of each structure, in the order of the labels 1..n, and of what is none.

    Attributes:
        structures: Ids by name.
        background: Ids of label 0.
        ignored: Ids of voxels that nobody has labelled; they become label 255.
    """

    structures: dict[str, tuple[int, ...]]
    background: tuple[int, ...] = (0,)
    ignored: tuple[int, ...] = ()

    @property
    def ignore(self) -> int | None:
        """The label of voxels that nobody has labelled, None if the mapping knows of none."""
        return _IGNORED_LABEL if self.ignored else None

    @property
    def others(self) -> dict[str, list[int]]:
        """The ids of what is no structure, by the name that a file gives it."""
        ignored = {_IGNORED: [*self.ignored]} if self.ignored else {}
        return {_BACKGROUND: [*self.background], **ignored}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the labels 1..n."""
        return tuple(self.structures)

    @property
    def labels(self) -> dict[int, int]:
        """The label of each id."""
        every = dict.fromkeys(self.background, 0) | dict.fromkeys(self.ignored, _IGNORED_LABEL)
        for label, ids in enumerate(self.structures.values(), start=1):
            every.update(dict.fromkeys(ids, label))
        return every

    def unknown(self, ids: Iterable[int]) -> list[int]:
        """Which of some ids the mapping does not know, ascending."""
        return sorted(set(ids) - set(self.labels))

    def apply(self, voxels: NDArray[np.integer]) -> NDArray[np.uint8]:
        """A map of ids, all known, as a map of labels."""
        ids, labels = (np.array(part) for part in zip(*sorted(self.labels.items()), strict=True))
        return labels.astype(np.uint8)[np.searchsorted(ids, voxels)]

    def volumes(self, voxels: dict[int, int]) -> dict[str, int]:
        """Voxels of each structure, from the voxels of each id."""
        return {
            name: sum(voxels.get(one, 0) for one in ids) for name, ids in self.structures.items()
        }

    def found_in(self, voxels: dict[int, int]) -> set[str]:
        """Names of the structures that occur, from the voxels of each id."""
        return {name for name, count in self.volumes(voxels).items() if count}


def plain_mapping(ids: Iterable[int]) -> LabelMapping:
    """Every id but 0 as a structure of its own: ``label_1``, ``label_2`` ...

    Raises:
        DataError: There are more ids than labels.
    """
    names: dict[str, tuple[int, ...]] = {f"label_{one}": (one,) for one in sorted({*ids} - {0})}
    _check_count(len(names), "the label maps")
    return LabelMapping(names)


def named_mapping(names: Sequence[str]) -> LabelMapping:
    """The structures of the given names, which have the ids 1, 2, ...

    Raises:
        DataError: There are more names than labels, or none.
    """
    _check_count(len(names), "the masks")
    return LabelMapping({name: (one,) for one, name in enumerate(names, start=1)})


def read_mapping(labels: object, structures: Sequence[str] = ()) -> LabelMapping:
    """The mapping shipped under a name, or that of a file; of several, their structures together.

    Args:
        labels: Name, also that of a preset with labels, or file: YAML, a colour table like
            ``FreeSurferColorLUT.txt``, or a ``dataset.json``; ids and names themselves, as a YAML
            file has them; or a list of them.
        structures: Names of those to keep, in the order of the labels; the others are background.
            All, if none is given.

    Raises:
        DataError: There is no such name, file or structure, or a file is not a mapping of ids to
            names.

    Example:
        >>> read_mapping("freesurfer", ["amygdala", "hippocampus"]).structures
        {'amygdala': (18, 54, 96, 97), 'hippocampus': (17, 53)}
        >>> sorted(read_mapping(["freesurfer_left", "freesurfer_right"], ["left_putamen"]).names)
        ['left_putamen']
    """
    given = labels if isinstance(labels, list | tuple) else [labels]
    told = ", ".join("labels" if isinstance(one, dict) else str(one) for one in given)
    mapping = _joined(told, [_read_one(one) for one in given])
    if structures:
        mapping = _only(mapping, structures, told)
    _check_count(len(mapping.structures) + bool(mapping.ignored), told, "structures=[...]")
    return mapping


def _read_one(labels: object) -> LabelMapping:
    """The mapping shipped under a name, that of a file, or one that is given itself.

    Raises:
        DataError: There is no such name or file, or the file is not a mapping of ids to names.
    """
    if isinstance(labels, dict):
        return _checked_mapping("labels", labels)
    shipped = {path.stem: path for path in sorted(_SHIPPED.glob("*.yaml"))}
    path = shipped.get(str(labels), Path(str(labels)).expanduser())
    if not path.is_file():
        if preset := _labels_of_preset(str(labels)):
            return _read_one(preset)
        raise DataError(
            f"labels must be {', '.join(shipped)}, a preset with labels such as btcv, or a file "
            f"(YAML, colour table .txt, dataset.json), got {labels}"
        )
    table = read_label_table(path)
    if table is not None:
        return _checked_mapping(path, table)
    try:
        content = load_yaml(read_text(path), _AsTyped)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} cannot be read as YAML: {reason}") from error
    return _checked_mapping(path, content)


def _labels_of_preset(name: str) -> object:
    """What a preset, or the one that it builds on, has as labels; None without a mapping."""
    path = CONFIGURATIONS / "preset" / f"{name}.yaml"
    if not name.isidentifier() or not path.is_file():
        return None
    content = load_yaml(read_text(path), _AsTyped)
    labels = content.get("labels")
    if isinstance(labels, str) and "${" in labels:  # of a file in the input
        return None
    bases = (one for one in content.get("defaults", []) if isinstance(one, str))
    return labels or next(filter(None, map(_labels_of_preset, bases)), None)


def _joined(where: str, mappings: Sequence[LabelMapping]) -> LabelMapping:
    """The structures of all mappings; background is what is none in any.

    Raises:
        DataError: An id is one structure here and another there.
    """
    owners: dict[int, str] = {}
    structures: dict[str, tuple[int, ...]] = {}
    for mapping in mappings:
        for name, ids in (mapping.structures | {_IGNORED: mapping.ignored}).items():
            clash = [one for one in ids if owners.setdefault(one, name) != name]
            if clash:
                raise DataError(
                    f"labels {where} must agree, got {clash[0]}: {owners[clash[0]]} and {name}"
                )
            structures[name] = tuple(dict.fromkeys((*structures.get(name, ()), *ids)))
    ignored = structures.pop(_IGNORED)
    background = {one for mapping in mappings for one in mapping.background} - set(owners)
    return LabelMapping(structures, tuple(sorted(background)), ignored)


def _only(mapping: LabelMapping, structures: Sequence[str], where: str) -> LabelMapping:
    """The chosen structures of a mapping, in their order; the others become background.

    Raises:
        DataError: One is not among them, or is named twice.
    """
    for name in structures:
        if name not in mapping.structures:
            near = get_close_matches(str(name), mapping.names, n=3) or mapping.names[:3]
            raise DataError(
                f"structures must be names in {where}, such as {', '.join(near)}, got {name}"
            )
    if len(set(structures)) < len(structures):
        raise DataError(f"structures must differ from one another, got {', '.join(structures)}")
    others = set(mapping.labels) - set(mapping.ignored)
    kept = {name: mapping.structures[name] for name in structures}
    others -= {one for ids in kept.values() for one in ids}
    return LabelMapping(kept, tuple(sorted(others)), mapping.ignored)


def _checked_mapping(path: Path | str, content: object) -> LabelMapping:
    """The mapping that a file holds.

    Raises:
        DataError: The file holds something else, or an id twice.
    """
    if not isinstance(content, dict) or not content:
        raise DataError(f"{path} must map ids to structures, as in 17: hippocampus")
    ids_of: dict[str, list[int]] = {}
    total = 0
    for key, name in content.items():
        if not isinstance(name, str) or not is_name(name) or not any(map(str.isalpha, name)):
            raise DataError(f"{path}: {key} must be mapped to a name, got {name}")
        ids = _ids_in(path, key)
        ids_of.setdefault(name, []).extend(ids)
        total += len(ids)
        if total > _MOST_IDS:
            raise DataError(f"{path}: it must map at most {_MOST_IDS} ids, got more at {key}")
    counts = Counter(one for ids in ids_of.values() for one in ids)
    if twice := sorted(one for one, count in counts.items() if count > 1):
        raise DataError(f"{path}: every id must be mapped once, got {twice[0]} twice")
    background = set(ids_of.pop(_BACKGROUND, ())) | ({0} - set(counts))
    ignored = tuple(sorted(ids_of.pop(_IGNORED, ())))
    if not ids_of:
        _check_count(0, str(path))
    structures = {name: tuple(ids) for name, ids in ids_of.items()}
    return LabelMapping(structures, tuple(sorted(background)), ignored)


def _ids_in(path: Path | str, key: object) -> list[int]:
    """The ids that a key of a mapping stands for.

    Raises:
        DataError: It is neither an id nor ids and ranges.
    """
    text = str(key)
    if _ONE_ID.fullmatch(text):
        return [int(text)]
    if not _IDS.fullmatch(text) or sum(map(_length, text.split())) > _MOST_IDS:
        raise DataError(f"{path}: keys must be ids like 17 or 1000-1035, got {text[:80]!r}")
    return parse_ids(text)


def _length(part: str) -> int:
    """How many ids a range has."""
    first, _, last = part.partition("-")
    return max(0, int(last or first) - int(first) + 1)


def _check_count(count: int, where: str, choice: str = "") -> None:
    """Check that there are labels for all structures, and at least one.

    Raises:
        DataError: There are not.
    """
    if not 1 <= count <= MAX_STRUCTURES:
        remedy = f": choose some with {choice}" if choice and count else ""
        raise DataError(f"{where} must have 1 to {MAX_STRUCTURES} structures, got {count}{remedy}")


class _AsTyped(yaml.SafeLoader):
    """Plain YAML whose words are text as typed: ``NO`` is not False, and 017 is seventeen.

    No key may come twice; otherwise the last would silently win.
    """

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        counts = Counter(str(key.value) for key, _ in node.value)
        if twice := [key for key, count in counts.items() if count > 1]:
            raise yaml.YAMLError(f"{twice[0]} comes twice")
        return super().construct_mapping(node, deep)
