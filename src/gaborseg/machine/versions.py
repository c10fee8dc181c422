"""The versions of Python, of packages and of this code that a result depends on."""

import contextlib
import functools
import hashlib
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("gaborseg", "torch", "pytorch-lightning", "hydra-core", "torchio", "torchmetrics")


_SOURCES = (".py", ".cpp", ".h")


def software_versions() -> dict[str, str]:
    """Return the versions of Python, of the packages that decide results, and of this code."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        **_package_versions(),
        "git_commit": git_commit(),
        "source": _source_hash(),
    }


@functools.cache
def _package_versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(ModuleNotFoundError):
            versions[package] = version(package)
    return versions


@functools.cache
def git_commit() -> str:
    """Return the commit of this code, with ``-dirty`` if files differ, or ``unknown``."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--match="]
    here = Path(__file__)
    mine = ["git", "ls-files", "--error-unmatch", here.name]  # and not the user's around it
    try:
        subprocess.run(mine, cwd=here.parent, capture_output=True, check=True)
        done = subprocess.run(command, cwd=here.parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


@functools.cache
def _source_hash() -> str:
    """Return twelve hexadecimal digits of this code, committed or not."""
    here = Path(__file__).parents[1]
    content = hashlib.sha256()
    for path in sorted(path for path in here.rglob("*") if path.suffix in _SOURCES):
        content.update(path.relative_to(here).as_posix().encode())
        content.update(path.read_bytes())
    return content.hexdigest()[:12]
