"""The folder of a run: what it holds is enough to rebuild the run and to report on it."""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
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
from gaborseg.runs.checkpoints import check_origin, identity_in_checkpoints
from gaborseg.runs.curves import read_curves
from gaborseg.runs.files import (
    RunFile,
    RunFileError,
    read_outcome,
    read_record,
    read_settings,
)
from gaborseg.runs.lock import LOCK, locked
from gaborseg.runs.renames import as_saved_now
from gaborseg.runs.scores import read_run_scores
from gaborseg.runs.settings import check_texts, differences, settings_digest, without_technical

_NOT_SEARCHED = (RunFile.PREDICTIONS, "wandb")
"""Folders of a run in which a link does no harm: each file gives way to a whole one, or W&B, which
has links of its own, makes a new folder."""
_IDENTITY = re.compile("[0-9a-f]{12}")  # trackers name folders by it


@dataclass(frozen=True)
class Run:
    """What a run is called and where it lives.

    Attributes:
        folder: Where everything about the run is written.
        config: The resolved configuration, plain dicts and lists.
        name: Readable: kernel, loss, learning rate, split, and what its experiment sets otherwise.
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

        A run that has begun keeps them, wherever its folder is moved to: its record tells them, and
        if that is lost its checkpoints do.
        """
        told = self.record().get("id") or identity_in_checkpoints(self.folder)
        if told and _IDENTITY.fullmatch(told):
            return str(told)
        settings = without_technical(self.config)
        place = str(self.folder.absolute())
        text = json.dumps([place, settings], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def origin(self) -> dict[str, str]:
        """Return what its checkpoints tell of it: its identity, and a digest of its settings."""
        return {"id": self.identity, "settings": settings_digest(self.config)}

    def path(self, name: str) -> Path:
        """Return the path of a file of the run."""
        return self.folder / name

    @property
    def done(self) -> bool:
        """Return whether the run has ended and was tested, and all its scores are there."""
        return self._end()[0]

    @property
    def lost(self) -> str:
        """Return what is lost of the scores of a run that had ended; empty if nothing is."""
        return self._end()[1]

    def _end(self) -> tuple[bool, str]:
        """Return whether the run has ended with all scores, and what is lost of them if not."""
        try:
            if done := bool(read_outcome(self.folder)):
                read_run_scores(self.folder)
        except RunFileError as error:
            return False, str(error)
        return done, ""

    def conflicts(self) -> list[str]:
        """Return what the run in the folder, if there is one, has set to other values.

        Raises:
            ValueError: If the run's configuration or record is damaged.
        """
        if not self.path(RunFile.SETTINGS).exists():
            lost = f"{RunFile.SETTINGS} is lost, and {RunFile.RECORD} tells of others"
            return [] if self._told_settings in (None, settings_digest(self.config)) else [lost]
        with self._damage(RunFile.SETTINGS):
            changed = differences(read_settings(self.folder), as_saved_now(self.config))
        if changed and self._told_settings == settings_digest(self.config):
            path = self.path(RunFile.SETTINGS)
            raise ValueError(f"{path} is damaged, as {RunFile.RECORD} tells: delete it to go on")
        return changed

    @property
    def _told_settings(self) -> str | None:
        """Return the digest of the settings under which the run was begun, if it is recorded."""
        return self.record().get("settings")

    def check_folder(self) -> None:
        """Check that the folder is free, or holds a run of the same configuration.

        Raises:
            FileExistsError: If the folder holds a run of another configuration.
            ValueError: If a folder is where a file of the run belongs, or the other way round, or
                if a setting is no UTF-8.
        """
        check_texts(self.config)
        for name in RunFile:
            path, wanted = self.path(name), "folder" if name == RunFile.PREDICTIONS else "file"
            if path.exists() and path.is_dir() != (wanted == "folder"):
                raise ValueError(f"{path} must be a {wanted}: move it away")
        if changed := self.conflicts():
            raise FileExistsError(
                f"{self.folder} holds a run with other settings ({'; '.join(changed)}); "
                "choose another folder with hydra.run.dir=..."
            )

    def check_checkpoint(self, path: Path, checkpoint: Mapping[str, Any]) -> None:
        """Check that a checkpoint in the folder is of this run, if it tells its run.

        Raises:
            RunFileError: If it is of another run.
            ValueError: If the run's record is damaged.
        """
        self.record()  # if it is damaged, that is to be told
        check_origin(path, checkpoint, self.config)

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Hold the folder against other processes, freed of what a session that broke off left.

        Raises:
            BlockingIOError: If another process works on the run.
            FileExistsError: If a link is in the place of a folder, of the lock, or of what a
                callback or logger writes.
        """
        _refuse_links(self.folder)
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

    def curves(self) -> dict[int, dict[str, str]]:
        """Return the metrics of the epochs that are trained, by epoch.

        Raises:
            ValueError: If their file is damaged.
        """
        with self._damage(RunFile.CURVES, "file"):
            return read_curves(self.path(RunFile.CURVES))

    @contextlib.contextmanager
    def _damage(self, name: RunFile, part: str = "folder") -> Iterator[None]:
        try:
            yield
        except RunFileError as error:
            path = self.path(name)
            raise ValueError(
                f"{path} is damaged; mend it, or move the {part} away: {error}"
            ) from error


def tidy_up(folder: Path) -> None:
    """Free the folder of a run that is done of what a killed process left, if nobody holds it."""
    if (folder / LOCK).exists() or any(folder.glob(f"{PARTIAL}*")):
        with contextlib.suppress(OSError), locked(folder):
            _remove_leftovers(folder)


def _refuse_links(folder: Path) -> None:
    """Check that nothing in a run folder makes a callback or logger write somewhere else.

    Raises:
        FileExistsError: A folder is a link, or a file below one is.
    """
    for place, folders, files in os.walk(folder):
        here = Path(place)
        for name in (*folders, *files):
            if here != folder or not (here / name).is_file():
                refuse_link(here / name)
        if here == folder:
            folders[:] = [name for name in folders if name not in _NOT_SEARCHED]


def _remove_leftovers(folder: Path) -> None:
    (folder / RunFile.FAILURE).unlink(missing_ok=True)
    for written in (folder, folder / RunFile.PREDICTIONS):
        remove_partials(written)


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
