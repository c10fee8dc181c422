"""Names of ids in the files of other programs: colour tables of FreeSurfer, and ``dataset.json``.

A colour table has a line for each id, with its name, and its colour if wanted::

    17  Left-Hippocampus   220 216 20  0

``dataset.json`` of the Medical Segmentation Decathlon and of nnU-Net says by ``labels`` which id is
which structure, in either direction, and by ``modality`` or ``channel_names`` what the images are.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gaborseg.data import is_name
from gaborseg.machine import load_json, read_text
from gaborseg.scans import DataError

_COLOUR_TABLES = (".txt", ".ctab")
_ROW = re.compile(r"(\d{1,9})\s+(\S.*?)((\s+\d{1,3}){3,4})?\s*", re.ASCII)
_LONGEST_ROW = 500
_ID = re.compile(r"\d{1,9}", re.ASCII)
_BACKGROUND = "background"


def read_label_table(path: Path) -> dict[str, str] | None:
    """Names by id, as a mapping has them, of a file of another program; None if it is not one.

    Raises:
        DataError: It cannot be read, or is not what its ending says.
    """
    kind = path.suffix.lower()
    if kind not in (*_COLOUR_TABLES, ".json"):
        return None
    try:
        text = read_text(path)
        return _colour_table(text) if kind in _COLOUR_TABLES else _labels_of(load_json(text))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a table of labels: {error}") from error


def channel_names(labels: object) -> tuple[str, ...]:
    """Names of the images of a scan, if ``labels=`` is a ``dataset.json`` that tells; else none.

    Raises:
        DataError: It cannot be read.
    """
    path = Path(str(labels)).expanduser()
    if path.suffix.lower() != ".json" or not path.is_file():
        return ()
    try:
        return _channels_of(load_json(read_text(path)))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a table of labels: {error}") from error


def _colour_table(text: str) -> dict[str, str]:
    """Names by id of a colour table.

    Raises:
        ValueError: A line is no row of it, or an id comes twice.
    """
    names: dict[str, str] = {}
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if not line or line.startswith("#"):
            continue
        row = _ROW.fullmatch(line) if len(line) <= _LONGEST_ROW else None
        if row is None:
            raise ValueError(
                f"line {number} must be an id, its name and its colour, as in 17 "
                f"Left-Hippocampus 220 216 20 0, got {line[:80]!r}"
            )
        _add(names, str(int(row[1])), row[2])
    return names


def _labels_of(content: Any) -> dict[str, str]:
    """Names by id of a ``dataset.json``: ``{"1": "liver"}``, ``{"liver": 1}``, ``{"liver": [1]}``.

    Raises:
        ValueError: It has none, or structures share an id.
    """
    labels = content.get("labels") if isinstance(content, dict) else None
    if not isinstance(labels, dict):
        raise ValueError('it must have labels, as in "labels": {"background": 0, "liver": 1}')
    names: dict[str, str] = {}
    for one, name in _named_ids(labels):
        _add(names, one, name)
    return names


def _named_ids(labels: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Each id with its name.

    Raises:
        ValueError: An entry has another form.
    """
    for key, value in labels.items():
        if _ID.fullmatch(key) and isinstance(value, str):
            yield str(int(key)), value
            continue
        ids = value if isinstance(value, list) else [value]
        if not all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in ids):
            raise ValueError(f"labels must be ids and names, got {key[:80]!r}: {str(value)[:80]}")
        yield from ((str(one), key) for one in ids)


def _add(names: dict[str, str], one: str, name: str) -> None:
    """Note the name of an id; that of 0 is background whatever the table calls it.

    Raises:
        ValueError: The id has a name already.
    """
    if one in names:
        raise ValueError(
            f"every id must have one name, got {one} twice, {names[one]} and {name[:80]}: "
            "regions that overlap need a mapping of their own, a YAML file"
        )
    names[one] = _BACKGROUND if one == "0" else name


def _channels_of(content: Any) -> tuple[str, ...]:
    """Names of the channels of a ``dataset.json``, in their order; none if they do not differ.

    Raises:
        ValueError: They are not numbered names of files.
    """
    told = content if isinstance(content, dict) else {}
    key = "channel_names" if "channel_names" in told else "modality"
    names = told.get(key, {})
    if not isinstance(names, dict) or not all(map(_ID.fullmatch, names)):
        raise ValueError(f'{key} must be as in {{"0": "T1w", "1": "FLAIR"}}, got {str(names)[:80]}')
    ordered = tuple(names[one] for one in sorted(names, key=int))
    if strange := [one for one in ordered if not is_name(one) or Path(one).name != one]:
        raise ValueError(f"{key} must be names of images, got {str(strange[0])[:80]!r}")
    return ordered if len(set(ordered)) == len(ordered) else ()
