"""The folder of a run: what it holds is enough to rebuild the run and to report on it."""

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gaborseg.machine import (
    PACKAGES,
    PARTIAL,
    refuse_link,
    remove_partials,
    software_versions,
    write_atomically,
)
from gaborseg.runs.files import RunFile, RunFileError, read_record, read_settings
from gaborseg.runs.lock import LOCK, locked
from gaborseg.runs.renames import as_saved_now
from gaborseg.runs.state import outcome

# Settings that change where or how fast a run works, never its result ...
_WORKING = ("logger", "data.num_workers", "data.cache", "data.source.cache", "callbacks.progress")
# ... and groups that others refer to: what of them has an effect is told there again.
TECHNICAL = (*_WORKING, "rates", "activation")
_FOLDERS = (RunFile.PREDICTIONS, "wandb")  # what is written to in a run folder
_IDENTITY = re.compile("[0-9a-f]{12}")  # trackers name folders by it


@dataclass(frozen=True)
class Run:
    """What a run is called and where it lives.

    Attributes:
        folder: Where everything about the run is written.
        config: The resolved configuration, plain dicts and lists.
        name: Readable, from kernel, loss, learning rate and split.
        tags: The same, one by one.
        group: The set of runs that it belongs to, for comparisons.
    """

    folder: Path
    config: dict[str, Any]
    name: str
    tags: tuple[str, ...]
    group: str

    @property
    def identity(self) -> str:
        """Return twelve hexadecimal digits of the folder and the settings that count.

        A run that has begun keeps them, wherever its folder is moved to.
        """
        told = self.record().get("id")
        if isinstance(told, str) and _IDENTITY.fullmatch(told):
            return told
        settings = _without_technical(self.config)
        place = str(self.folder.absolute())
        text = json.dumps([place, self.name, settings], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def path(self, name: str) -> Path:
        """Return the path of a file of the run."""
        return self.folder / name

    @property
    def done(self) -> bool:
        """Return whether the run has ended and was tested."""
        return bool(outcome(self.folder))

    def conflicts(self) -> list[str]:
        """Return what the run in the folder, if there is one, has set to other values.

        Raises:
            ValueError: If the run's configuration is damaged.
        """
        if not self.path(RunFile.SETTINGS).exists():
            return []
        with self._damage(RunFile.SETTINGS):
            return differences(read_settings(self.folder), as_saved_now(self.config))

    def check_folder(self) -> None:
        """Check that the folder is free, or holds a run of the same configuration.

        Raises:
            FileExistsError: If the folder holds a run of another configuration.
        """
        if changed := self.conflicts():
            raise FileExistsError(
                f"{self.folder} holds a run with other settings ({'; '.join(changed)}); "
                "choose another folder with hydra.run.dir=..."
            )

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Hold the folder against other processes, freed of what a session that broke off left.

        Raises:
            BlockingIOError: If another process works on the run.
            FileExistsError: If a link is in the place of a folder or of the lock.
        """
        for name in _FOLDERS:
            refuse_link(self.path(name))
        with locked(self.folder):
            _remove_leftovers(self.folder)
            yield

    def claim(self) -> None:
        """Write the configuration, unless it is there: from now on the folder is this run's."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.path(RunFile.SETTINGS).exists():
            with write_atomically(self.path(RunFile.SETTINGS)) as file:
                yaml.safe_dump(self.config, file, sort_keys=False)

    def write_json(self, name: str, record: dict[str, Any]) -> None:
        """Write a record as JSON, whole or not at all."""
        with write_atomically(self.path(name)) as file:
            json.dump(record, file, indent=2)
            file.write("\n")

    def software_changes(self) -> list[str]:
        """Return what of code and packages was another version in any session than it is now."""
        now = software_versions()
        changes = [line for then in self.sessions() for line in software_changes(then, now)]
        return [*dict.fromkeys(changes)]

    def sessions(self) -> list[dict[str, str]]:
        """Return when and with which software the run was worked on before, oldest first."""
        return self.record().get("sessions", [])

    def record(self) -> dict[str, Any]:
        """Return what a run notes at its start; nothing before it has begun.

        Raises:
            ValueError: If it is damaged.
        """
        with self._damage(RunFile.RECORD):
            return read_record(self.folder)

    @contextlib.contextmanager
    def _damage(self, name: RunFile) -> Iterator[None]:
        try:
            yield
        except RunFileError as error:
            path = self.path(name)
            raise ValueError(f"{path} is damaged; mend it, or move the folder away") from error


def tidy_up(folder: Path) -> None:
    """Free the folder of a run that is done of what a killed process left, if nobody holds it."""
    if (folder / LOCK).exists() or any(folder.glob(f"{PARTIAL}*")):
        with contextlib.suppress(OSError), locked(folder):
            _remove_leftovers(folder)


def _remove_leftovers(folder: Path) -> None:
    (folder / RunFile.FAILURE).unlink(missing_ok=True)
    for written in (folder, folder / RunFile.PREDICTIONS):
        remove_partials(written)


def differences(old: Any, new: Any, key: str = "") -> list[str]:
    """Return one ``key: old -> new`` for every result-deciding value that differs."""
    if key not in TECHNICAL and isinstance(old, dict) and isinstance(new, dict):
        keys = dict.fromkeys([*old, *new])
        return [
            line
            for name in keys
            for line in differences(old.get(name), new.get(name), f"{key}.{name}".lstrip("."))
        ]
    return [] if old == new or key in TECHNICAL else [f"{key}: {old} -> {new}"]


def software_changes(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """Return one ``name: old -> new`` for every version that differs between two sessions.

    What code it is, its content tells; a commit may have changed no more than a page.
    """
    names = ("python", *PACKAGES, "source" if "source" in old else "git_commit")
    return [
        f"{name}: {old.get(name)} -> {new.get(name)}"
        for name in names
        if old.get(name) != new.get(name)
    ]


def _without_technical(config: Any, key: str = "") -> Any:
    """Return a configuration without the settings that never decide a result."""
    if not isinstance(config, dict):
        return config
    keys = {name: f"{key}.{name}".lstrip(".") for name in config}
    return {
        name: _without_technical(value, keys[name])
        for name, value in config.items()
        if keys[name] not in TECHNICAL
    }
