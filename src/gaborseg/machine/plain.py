"""Text, JSON and YAML that anybody may have made: read within bounds, plain values alone.

A file of some hundred bytes can make a parser work for hours (YAML aliases that name aliases) or
end the process (collections nested too deeply), and a named pipe can make it wait for ever.
"""

import itertools
import json
import stat
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

_LARGEST = 2**24
_DEEPEST = 64
_MOST_ALIASES = 1000
_MOST_VALUES = 2**22
_LONGEST_PLAIN = 10_000
"""Characters of a YAML value without quotes: longer ones are taken for numbers for minutes."""
_MOST_TUPLES = 60_000
"""In the index of a file of torch's; a training of a network of 5,000 tensors writes so many. One
in the other, they end the process when they are hashed."""
_LARGEST_INDEX = 2**26
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
        ValueError: It is no JSON, nested too deeply, or has too many values.
    """
    try:
        content = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    check_size(content)
    return content


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
    except (LookupError, AttributeError, TypeError, ArithmeticError) as error:
        raise ValueError(f"it holds what is not of the kind that it says: {error!r}") from error


def check_size(content: object) -> None:
    """Check that nested collections are neither deep nor, counted as a tree, many.

    Raises:
        ValueError: They are.
    """
    level, count = [content], 0
    for _ in range(2 * _DEEPEST):
        children = itertools.chain.from_iterable(map(_children, level))
        level = list(itertools.islice(children, _MOST_VALUES - count + 1))
        count += len(level)
        if count > _MOST_VALUES:
            raise ValueError("it has too many values")
        if not level:
            return
    raise ValueError("it is nested too deeply")


def _children(node: object) -> Iterable[object]:
    if isinstance(node, dict):
        return itertools.chain(node.keys(), node.values())
    return node if isinstance(node, list | tuple | set | frozenset) else ()


def check_torch_index(path: Path) -> None:
    """Check that what ``torch.load`` reads first in a file cannot end the process.

    Raises:
        ValueError: It is larger, or holds more tuples, than any training writes.
    """
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.filename.endswith("/data.pkl"):
                if entry.file_size > _LARGEST_INDEX:
                    raise ValueError(f"its index must be at most {_LARGEST_INDEX} bytes")
                if _count_tuples(archive.read(entry)) > _MOST_TUPLES:
                    raise ValueError("it is nested too deeply")


def _count_tuples(pickled: bytes) -> int:
    """Return how many tuples a pickle makes; at most so many where there are few in any case."""
    most = sum(map(pickled.count, (b"t", b"\x85", b"\x86", b"\x87")))
    if most <= _MOST_TUPLES:
        return most
    import pickletools  # slow to import

    return sum(code.name.startswith("TUPLE") for code, _, _ in pickletools.genops(pickled))


def _check_events(text: str) -> None:
    """Raise a ValueError if building the values of a YAML text would take too much."""
    anchored: list[bool] = []  # of each open collection: whether it, or one around it, has a name
    begun: list[tuple[str | None, int]] = []  # of each: its name, and how many values came before
    sizes: dict[str | None, int] = {}
    aliases = count = 0
    for event in yaml.parse(text, _LOADER):
        count += 1
        if isinstance(event, yaml.AliasEvent):
            aliases += 1
            count += sizes.get(event.anchor, 0)
            if (anchored and anchored[-1]) or aliases > _MOST_ALIASES or count > _MOST_VALUES:
                raise ValueError("its aliases name too much")
        elif isinstance(event, yaml.ScalarEvent):
            if event.implicit[0] and len(event.value) > _LONGEST_PLAIN:
                raise ValueError("a value without quotes is too long")
        elif isinstance(event, yaml.CollectionStartEvent):
            anchored.append(bool(event.anchor) or bool(anchored and anchored[-1]))
            begun.append((event.anchor, count))
            if len(anchored) > _DEEPEST:
                raise ValueError("it is nested too deeply")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchored.pop()
            name, before = begun.pop()
            sizes[name] = count - before
