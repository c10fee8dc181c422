"""Show the progress of the runs of a sweep, read from their files alone.

    python -m src.status                              everything in outputs
    python -m src.status outputs/sweeps/paper_grid    one sweep, or one run

This works while the sweep runs, after a crash, and on any machine that can read the files.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from gaborseg.interface import UserError, output_may_be_cut, run_command
from gaborseg.sweeps import show_sweeps, sweeps_in


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table of the runs of every sweep in a folder."""
    folder = _folder(arguments)
    sweeps = sweeps_in(folder)
    if not sweeps:
        raise UserError(f"folder must be one that holds runs, got {folder} without any")
    with output_may_be_cut():
        show_sweeps(sweeps)


def _folder(arguments: Sequence[str] | None) -> Path:
    """Return the folder that was asked for."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("folder", nargs="?", default="outputs")
    folder = Path(parser.parse_args(arguments).folder.removeprefix("runs="))
    if not folder.is_dir():
        raise UserError(f"folder must be one that holds runs, got {folder}")
    return folder


def run() -> None:
    """Run the command with this process's arguments."""
    run_command(main)


if __name__ == "__main__":
    run()
