"""What a hostile input is, and what the commands made of it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from forked_command import Ending

MARK = "EXECUTED"
"""Name of the file that an input makes if it gets what it wants; its content, if it writes."""
SECRET = "0123456789abcdefghijklmnop"
"""What stands in a file that no input may read."""


@dataclass(frozen=True)
class Sound:
    """What inputs are made from.

    Attributes:
        run: Folder of a finished run.
        onnx: Its model, exported.
        secret: A file that an input may name, and that nothing may read for it.
    """

    run: Path
    onnx: Path
    secret: Path


@dataclass(frozen=True)
class Attack:
    """An input, and the command that is to read it.

    Attributes:
        name: What it is.
        words: The command with its arguments; it runs in the folder of the input.
        make: Writes the input into a folder.
        refused: Whether the command must refuse it; else it may also do its work.
    """

    name: str
    words: tuple[str, ...]
    make: Callable[[Path, Sound], object]
    refused: bool = False


def verdict(attack: Attack, folder: Path, ending: Ending, sound: Sound) -> str:
    """Return one word for how an attack ended: worked, refused, or what must not be."""
    if any(folder.rglob(MARK)) or MARK in sound.secret.read_text():
        return "executed"
    if ending.kind in ("hang", "traceback", "died"):
        return ending.kind
    if SECRET in ending.output or any(SECRET.encode() in content for content in written(folder)):
        return "leaked"
    if "\x1b]" in ending.output or "\x07" in ending.output:
        return "escape sequence"
    if ending.kind == "ok":
        return "accepted" if attack.refused else "worked"
    return "refused" if "error" in ending.output or "[" in ending.output else "no word"


def written(folder: Path) -> list[bytes]:
    """Return the contents of what a command wrote."""
    return [path.read_bytes() for path in folder.glob("out/**/*") if path.is_file()]


def rename(folder: Path, before: str, after: bytes) -> None:
    """Give a file of a folder a name of any bytes, with folders if it has slashes."""
    target = os.fsencode(folder) + b"/" + after
    os.makedirs(os.path.dirname(target), exist_ok=True)
    os.rename(folder / before, target)
