"""Text, JSON and YAML that anybody may have made: read within bounds, plain values alone.

A file of some hundred bytes can make a parser work for hours (YAML aliases that name aliases) or
end the process (collections nested too deeply), and a named pipe can make it wait for ever.
"""

import json
import stat
from pathlib import Path
from typing import Any

import yaml

_LARGEST = 2**24
_DEEPEST = 64
_MOST_ALIASES = 1000
_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
"""What a text file may begin with, and the encoding that it tells."""
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_text(path: Path, largest: int = _LARGEST) -> str:
    """Return the text of a regular file: UTF-8, UTF-16 with its mark, or else Latin-1.

    Raises:
        OSError: It cannot be read.
        ValueError: It is a pipe or a device, or has more bytes than allowed.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is not a regular file")
    with path.open("rb") as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise ValueError(f"it must be at most {largest} bytes")
    encoding = next((e for mark, e in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        if encoding != "utf-8" or b"\0" in content:
            raise
        return content.decode("latin-1")


def load_json(text: str) -> Any:
    """Return what a JSON text holds.

    Raises:
        ValueError: It is no JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def load_yaml(text: str, loader: Any = _LOADER) -> Any:
    """Return what a YAML text holds, as plain values; an alias may only name what has none in it.

    Args:
        text: The YAML.
        loader: One of PyYAML's safe loaders, or made of one.

    Raises:
        ValueError: It is no YAML, nested too deeply, or has too many aliases.
    """
    try:
        _check_events(text)
        return yaml.load(text, loader)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def _check_events(text: str) -> None:
    """Raise a ValueError if building the values of a YAML text would take too much."""
    anchored: list[bool] = []  # of each open collection: whether it, or one around it, has a name
    aliases = 0
    for event in yaml.parse(text, _LOADER):
        if isinstance(event, yaml.AliasEvent):
            aliases += 1
            if (anchored and anchored[-1]) or aliases > _MOST_ALIASES:
                raise ValueError("its aliases name too much")
        elif isinstance(event, yaml.CollectionStartEvent):
            anchored.append(bool(event.anchor) or bool(anchored and anchored[-1]))
            if len(anchored) > _DEEPEST:
                raise ValueError("it is nested too deeply")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchored.pop()
