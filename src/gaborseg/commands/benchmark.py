"""Measure time, memory and errors of layers, networks, losses, metrics and data loading.

    python -m src.benchmark layer size=32 repeats=3
    python -m src.benchmark network size=48 threads=1 repeats=3
    python -m src.benchmark loss size=64 repeats=3

Subjects, and their options with defaults:

    layer      repeats=7 threads=None size=64 levels=(2, 3, 4)
    network    repeats=7 threads=None size=64 plain=True profile=0 checkpointing=0 compile=False
    loss       repeats=7 threads=None size=128
    metrics    repeats=7 threads=None size=128
    data       repeats=7 threads=None size=128 subjects=43 workers=(0, 1, 2) step=30.0
    exactness  repeats=300 threads=None
    gpu        repeats=10 threads=None device=cuda size=128
    gpu_model  repeats=7 threads=None size=128 cards=()
    tune       repeats=7 threads=None device=cuda kernel=gabor size=128 batch=1

The alternatives take turns in one process. The tables, in Markdown, contain medians with quartiles
and ratios taken round by round; the same numbers go to a JSON file in ``outputs/benchmarks``.
"""

import re
import sys
from collections.abc import Sequence

from gaborseg.interface import UserError, run_command
from gaborseg.machine import large_imports


def main() -> None:
    """Measure a subject, print its tables and write them to a file."""
    _check(sys.argv[1:])
    with large_imports():
        from gaborseg.benchmarks import benchmark

    benchmark(sys.argv[1:])


def _check(arguments: Sequence[str]) -> None:
    """Refuse what the list above does not have, before anything slow is imported."""
    lines = re.findall(r"^    (\w+) +(\w+=.*)$", __doc__ or "", re.MULTILINE)
    known = {subject: re.findall(r"(\w+)=", options) for subject, options in lines}
    subject, *options = arguments or [""]
    if subject not in known:
        raise UserError(f"the subject must be {' | '.join(known)}, got {subject!r}")
    for option in options:
        if option.partition("=")[0] not in known[subject] or "=" not in option:
            raise UserError(
                f"options of {subject} are {'= '.join(known[subject])}=, got {option!r}"
            )


def run() -> None:
    """Run the command with this process's arguments."""
    run_command(main)


if __name__ == "__main__":
    run()
