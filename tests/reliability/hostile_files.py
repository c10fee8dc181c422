"""What do the commands make of files that somebody has made for harm?

    python tests/reliability/hostile_files.py FOLDER              all
    python tests/reliability/hostile_files.py FOLDER --every 10   every tenth
    python tests/reliability/hostile_files.py FOLDER --only bomb  those whose names hold a word
    python tests/reliability/hostile_files.py FOLDER --sound OTHER/sound  made by bit_rot.py OTHER

Scans, checkpoints, exported models, run folders, data sets and tables: each is read by the command
that users would give it to, in a process of its own with 8 GiB and a minute. It may be read or be
refused in one line. Anything else is counted and shown: something was executed, or read from a
file that nobody named; a traceback, a hang, a death by a signal; an escape sequence on the
terminal; success with what must be refused.
"""

import argparse
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import attacks_on_models
import attacks_on_scans
import attacks_on_settings
from forked_command import prepare_to_fork, run_forked
from hostile import SECRET, Attack, Sound, verdict
from sound_files import make_sound

GOOD = ("worked", "refused")
SECONDS = 60


def main() -> None:
    """Try the attacks and count how they end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Plain)
    parser.add_argument("folder", type=Path, help="where the files go; must not exist")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--sound", type=Path, help="a sound run and its model; else they are made")
    arguments = parser.parse_args()
    chosen = [attack for attack in attacks() if arguments.only in attack.name]
    found = attack_all(arguments.folder.absolute(), chosen[:: arguments.every], arguments.sound)
    raise SystemExit(any(kind not in GOOD for kind in found))


class Plain(argparse.RawDescriptionHelpFormatter):
    """Help as it is written above."""


def attacks() -> Iterator[Attack]:
    """Yield all attacks."""
    for family in (attacks_on_scans, attacks_on_models, attacks_on_settings):
        yield from family.attacks()


def attack_all(folder: Path, chosen: Sequence[Attack], made: Path | None = None) -> Counter[str]:
    """Print what went wrong, and how often; return how the attacks ended, counted."""
    prepare_to_fork()
    if made is None:
        made = folder / "sound"
        make_sound(made)
    secret = folder / "secret"
    folder.mkdir(parents=True, exist_ok=True)
    secret.write_text(SECRET)
    made = made.absolute()
    sound = Sound(made / "runs" / "one", made / "model.onnx", secret)
    found = Counter[str]()
    for attack in chosen:
        kind = try_one(attack, folder / "attack", sound)
        found[kind] += 1
    print(f"{len(chosen)} attacks:", ", ".join(f"{n} {kind}" for kind, n in found.most_common()))
    return found


def try_one(attack: Attack, folder: Path, sound: Sound) -> str:
    """Make the input of an attack, run the command, and return what became of it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    attack.make(folder, sound)
    name, *words = (word.format(run=sound.run) for word in attack.words)
    ending = run_forked(name, words, folder, seconds=SECONDS)
    kind = verdict(attack, folder, ending, sound)
    lines = ascii(" / ".join(ending.output.strip().splitlines()[-2:]))
    mark = "" if kind in GOOD else "  <--"
    print(f"{name} {attack.name}: {kind}, {ending.seconds:.1f} s{mark} {lines[-160:]}", flush=True)
    return kind


if __name__ == "__main__":
    main()
