"""What do the commands make of damaged files?

    python tests/reliability/bit_rot.py FOLDER                200 damages
    python tests/reliability/bit_rot.py FOLDER --tries 1000 --seed 1

One run of a tiny network is trained, tested and exported. Then, again and again, one of its files,
of its data or of their cache is damaged in one way: a bit is flipped, or it is cut, emptied, zeroed
in part, lost, or replaced by a folder; and a command that reads it is called. It may do what it
does with sound files, or end with an error that names the file or its folder. Anything else is
counted and shown: another result without a word, a traceback, a hang, a death by a signal.
"""

import argparse
import hashlib
import random
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from forked_command import Ending, prepare_to_fork, run_forked
from sound_files import SCAN, TRAINING, make_sound, must

GOOD = ("same", "told")
TEXTS = (".json", ".yaml", ".csv", ".tsv")
Damage = Callable[[Path, random.Random], None]
SECONDS = 60
"""Longer than any command takes on a tiny run."""


def main() -> None:
    """Damage files, call commands and count how they end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Plain)
    parser.add_argument("folder", type=Path, help="where the files go; must not exist")
    parser.add_argument("--tries", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    found = rot(arguments.folder.absolute(), arguments.tries, arguments.seed)
    raise SystemExit(any(kind not in GOOD for kind in found))


class Plain(argparse.RawDescriptionHelpFormatter):
    """Help as it is written above."""


@dataclass(frozen=True)
class Reader:
    """A command and what counts of what it makes.

    Attributes:
        words: The command and its arguments; it runs in a copy of the sound folder.
        reads: Patterns of the files that it reads.
        makes: Patterns of the files whose content is its result.
    """

    words: tuple[str, ...]
    reads: tuple[str, ...]
    makes: tuple[str, ...]


RUN_FILES = ("runs/one/*.json", "runs/one/*.yaml", "runs/one/*.csv")
DATA_FILES = ("data/**/*.*", "cache/**/*.*")
READERS = (
    Reader(("status", "runs"), RUN_FILES, ()),
    Reader(("report", "runs=runs", "output=new"), RUN_FILES, ("new/results.csv", "new/table*.csv")),
    Reader(
        ("evaluate", "run=runs/one", "output=new", "device=cpu"),
        ("runs/one/best.ckpt", "runs/one/*.yaml", *DATA_FILES),
        ("new/subjects.csv",),
    ),
    Reader(
        ("predict", "checkpoint=runs/one", f"input={SCAN}", "output=new", "device=cpu"),
        ("runs/one/best.ckpt", SCAN),
        ("new/*.nii.gz",),
    ),
    Reader(
        ("predict", "checkpoint=model.onnx", f"input={SCAN}", "output=new", "device=cpu"),
        ("model.onnx",),
        ("new/*.nii.gz",),
    ),
    Reader(
        ("train", *TRAINING, "hydra.run.dir=runs/half"),
        ("runs/half/*.*", *DATA_FILES),
        ("runs/half/subjects.csv", "runs/half/predictions/*"),
    ),
)


def rot(folder: Path, tries: int, seed: int = 0) -> Counter[str]:
    """Print what went wrong, and how often; return how the commands ended, counted."""
    prepare_to_fork()
    work, sound = folder / "work", folder / "sound"
    make_sound(work)
    work.rename(sound)
    expected = {}
    for reader in READERS:
        put_back(sound, work)
        must(run_forked(reader.words[0], reader.words[1:], work, seconds=SECONDS))
        expected[reader] = digests(work, reader.makes)
    dice, found = random.Random(seed), Counter[str]()
    for number in range(tries):
        reader = READERS[number % len(READERS)]
        put_back(sound, work)
        path = dice.choice(files(work, reader.reads))
        damage = dice.choice(damages_of(path))
        damage(path, dice)
        ending = run_forked(reader.words[0], reader.words[1:], work, seconds=SECONDS)
        kind = verdict(ending, path, digests(work, reader.makes) == expected[reader])
        found[kind] += 1
        if kind not in GOOD:
            show(kind, reader, damage, path.relative_to(work), ending)
    print(f"{tries} damages:", ", ".join(f"{count} {kind}" for kind, count in found.most_common()))
    return found


def show(kind: str, reader: Reader, damage: Damage, path: Path, ending: Ending) -> None:
    """Print what a command did that it must not do."""
    print(f"{kind}: {' '.join(reader.words[:2])} after {damage.__name__} of {path}")
    print("    " + "\n    ".join(ending.output.strip().splitlines()[-3:]), flush=True)


def put_back(sound: Path, work: Path) -> None:
    """Make the folder of work a copy of the sound one, times of change included."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(sound, work)


def files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """Return the files that match one of the patterns, in order."""
    found = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    return sorted(path for path in found if path.suffix not in (".lock", ".log", ".png", ".md"))


def digests(folder: Path, patterns: Sequence[str]) -> dict[str, str]:
    """Return a digest of the content of each file that matches one of the patterns."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files(folder, patterns)
    }


def verdict(ending: Ending, path: Path, same: bool) -> str:
    """Return one word for what a command did with a damaged file."""
    if ending.kind not in ("ok", "told"):
        return ending.kind
    told = path.name in ending.output or path.parent.name in ending.output
    if ending.kind == "ok":
        return "same" if same else "told" if told else "wrong"
    return "told" if told else "unnamed"


def damages_of(path: Path) -> list[Damage]:
    """Return what can happen to a file; a changed digit of a text is nobody's to see."""
    anything = [cut, emptied, zeroed, lost, made_a_folder]
    return anything if path.suffix in TEXTS else [*anything, flipped]


def flipped(path: Path, dice: random.Random) -> None:
    """Flip one bit."""
    content = bytearray(path.read_bytes())
    content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    path.write_bytes(content)


def cut(path: Path, dice: random.Random) -> None:
    """Lose the end."""
    content = path.read_bytes()
    path.write_bytes(content[: dice.randrange(1, len(content))])


def emptied(path: Path, dice: random.Random) -> None:
    """Lose all that is in it."""
    path.write_bytes(b"")


def zeroed(path: Path, dice: random.Random) -> None:
    """Lose a stretch, as a disk does that had no time to write it."""
    content = bytearray(path.read_bytes())
    begin = dice.randrange(len(content))
    end = min(begin + dice.randint(1, 4096), len(content))
    path.write_bytes(content[:begin] + bytes(end - begin) + content[end:])


def lost(path: Path, dice: random.Random) -> None:
    """Remove it."""
    path.unlink()


def made_a_folder(path: Path, dice: random.Random) -> None:
    """Put a folder in its place."""
    path.unlink()
    path.mkdir()


if __name__ == "__main__":
    main()
