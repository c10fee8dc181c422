"""Show the progress of the runs of a sweep, read from their files alone.

    python -m src.status                           # everything in outputs
    python -m src.status outputs/sweeps/smoke      # one sweep; several folders, one after another
    python -m src.status outputs/runs/default      # one run

This works while the sweep runs, after a crash, and on any machine that can read the files.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from gaborseg.interface import UserError, output_may_be_cut, run_command
from gaborseg.sweeps import show_sweeps, sweeps_in


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table of the runs of every sweep in some folders."""
    folders = _folders(arguments)
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"folder must be one that holds runs, got {folder}")
    sweeps = sweeps_in(*folders)
    if not sweeps:
        told = ", ".join(map(str, folders))
        raise UserError(f"folder must be one that holds runs, got {told} without any")
    with output_may_be_cut():
        show_sweeps(sweeps)


def _folders(arguments: Sequence[str] | None) -> list[Path]:
    """Return the folders that were asked for, also as ``runs=DIR`` and ``runs=[DIR,DIR]``."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("folders", nargs="*", default=["outputs"])
    found: list[Path] = []
    for text in parser.parse_args(arguments).folders:
        value = text.removeprefix("runs=")
        listed = value[1:-1].split(",") if value[:1] == "[" and value[-1:] == "]" else [value]
        found += [Path(part.strip()) for part in listed]
    return found


def run() -> None:
    """Run the command with this process's arguments."""
    run_command(main)


if __name__ == "__main__":
    run()
