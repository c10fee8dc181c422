"""What ``--help`` prints: a command's docstring, and the YAML file of its settings."""

import os
from collections.abc import Iterator

from gaborseg.interface.configuration import CONFIGURATIONS

CONSOLE = "GABORSEG_CONSOLE"
"""Set in the environment by the console program, for this process and those that it starts."""


def command(name: str) -> str:
    """Return how a command is called: ``python -m src.NAME``, or ``gaborseg NAME``.

    Example:
        >>> command("report")
        'python -m src.report'
    """
    return f"gaborseg {name}" if CONSOLE in os.environ else f"python -m src.{name}"


def help_text(docstring: str, settings: str | None) -> str:
    """Return the help of a command.

    Args:
        docstring: Of its module.
        settings: Name of its YAML file in ``conf/``, if it has one.
    """
    parts = [docstring.replace("python -m src.", command("")).strip()]
    if settings is not None:
        text = (CONFIGURATIONS / f"{settings}.yaml").read_text(encoding="utf-8")
        if groups := [*_groups(text)]:
            parts.append("\n".join(["Groups and their options (group=option)", "", *groups]))
        parts.append("Settings and their defaults (key=value)\n\n" + _indented(_settings(text)))
    return "\n\n".join(parts)


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
