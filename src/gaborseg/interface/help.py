"""What ``--help`` prints: a command's docstring, and the YAML file of its settings."""

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from gaborseg.interface.configuration import CONFIGURATIONS

CONSOLE = "GABORSEG_CONSOLE"
"""Set in the environment by the console program, for this process and those that it starts."""
_EXAMPLES = re.compile(r"^    python -m src\..*\n?", re.MULTILINE)
"""Lines of a docstring that call a command."""


def command(name: str) -> str:
    """Return how a command is called: ``python -m src.NAME``, or ``gaborseg NAME``.

    Example:
        >>> command("report")
        'python -m src.report'
    """
    return f"gaborseg {name}" if CONSOLE in os.environ else f"python -m src.{name}"


def report_line(runs: Path) -> str:
    """Return how to go on from a folder of runs, or from one: the command that reports on it."""
    return _line("Report with", "report", runs=runs, output=Path("outputs/reports") / runs.name)


def prediction_line(run: Path) -> str:
    """Return how to go on from a run: the command that segments scans with it.

    Example:
        >>> prediction_line(Path("outputs/runs/default"))
        'Segment scans with: python -m src.predict checkpoint=outputs/runs/default input=scans \
output=segmented'
    """
    return _line("Segment scans with", "predict", checkpoint=run, input="scans", output="segmented")


def _line(what: str, name: str, **settings: str | Path) -> str:
    """Return a command as it is typed in this folder."""
    here = Path.cwd()
    typed = [
        shlex.quote(f"{key}={Path(path).relative_to(here) if here in Path(path).parents else path}")
        for key, path in settings.items()
    ]
    return f"{what}: {' '.join([command(name), *typed])}"


def help_text(docstring: str, settings: str | None) -> str:
    """Return the help of a command: what it does, its settings, and at the end its examples.

    Args:
        docstring: Of its module; its examples are the indented lines that call the command.
        settings: Name of its YAML file in ``conf/``, if it has one.
    """
    examples = _EXAMPLES.findall(docstring)
    parts = [re.sub(r"\n{3,}", "\n\n", _EXAMPLES.sub("", docstring)).strip()]
    if settings is not None:
        text = (CONFIGURATIONS / f"{settings}.yaml").read_text(encoding="utf-8")
        if groups := [*_groups(text)]:
            parts.append("\n".join(["Groups and their options (group=option)", "", *groups]))
        parts.append("Settings and their defaults (key=value)\n\n" + _indented(_settings(text)))
    parts.append("Examples\n\n" + _indented("\n".join(line.strip() for line in examples)))
    return "\n\n".join(parts).replace("python -m src.", command(""))


def _groups(text: str) -> Iterator[str]:
    """The groups in a YAML file's list of defaults, with their options."""
    for folder in sorted(path for path in CONFIGURATIONS.iterdir() if path.is_dir()):
        if f"\n  - {folder.name}: " not in text:
            continue
        if options := sorted(file.stem for file in folder.glob("[!_]*.yaml")):
            yield f"  {folder.name}: {', '.join(options)}"


def _settings(text: str) -> str:
    """The settings of a YAML file: what is Hydra's own, and the list of defaults, left out."""
    blocks = text.split("\n\n")
    return "\n\n".join(
        block.strip() for block in blocks if not block.startswith(("hydra:", "#", "defaults:"))
    )


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())
