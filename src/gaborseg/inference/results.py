"""A folder of results: which scans are done, their volumes in a table, by which models they are."""

import csv
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaborseg.inference.inputs import ScanFiles
from gaborseg.machine import (
    as_cell,
    load_json,
    of_cell,
    read_text,
    refuse_links_to,
    whole_file,
    write_atomically,
    write_text,
)
from gaborseg.runs import locked

_TABLE, _RECORD = "volumes.csv", "predict.json"
SOURCE, _DECIDED = "source", "decided_by"
"""The columns that tell the scan's content, and models and settings."""
_AT_FIRST: dict[str, Any] = {"match_histograms": "never"}
"""What holds where it is not written down: results of before there were these settings."""
_DECIMALS = {"seconds": 1, "confidence": 4, "unlikeness": 3, "field_of_view_mm": 1}
COLUMNS = ("scan", "problem", "warnings", *_DECIMALS, SOURCE, _DECIDED)
_ENDINGS = {
    "labels": "_dseg.nii.gz",
    "probabilities": "_probabilities.nii.gz",
    "overlay": "_overlay.png",
    "viewer": "_viewer.html",
}
"""How the results of a scan end, by kind."""
_LONGEST_HEADER = 2**16
_Row = dict[str, str]
_PATIENCE = 300.0  # seconds to wait for other commands that write to the same folder


@dataclass(frozen=True)
class Work:
    """What is to be done for a scan.

    Attributes:
        write: Where its results go that are missing, by kind.
        remove: What they replace; it goes first, so that no file ever stands under another's row.
    """

    write: Mapping[str, Path]
    remove: tuple[Path, ...] = ()


class Results:
    """The results in a folder, scan by scan; several commands may fill it at once.

    What the same models and settings have made of the same scan stays as it is, even if it was
    corrected by hand since. Anything else is replaced only if told.

    Args:
        folder: Where they are, or will be.
        structures: Names of the labels 1 ... C-1, the columns of the table.
        record: What decides the results: models and settings.
        probabilities: Whether probabilities are asked for.
        overlay: Whether pictures are asked for.
        viewer: Whether viewers are asked for.
        overwrite: Whether results of other models, settings or scans may be replaced.

    Raises:
        FileExistsError: The folder holds results that something else has decided, or a table that
            is not ours.
        OSError: The folder cannot be written to.
    """

    def __init__(
        self,
        folder: Path,
        structures: Sequence[str],
        record: Mapping[str, Any],
        *,
        probabilities: bool = False,
        overlay: bool = False,
        viewer: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.folder = folder
        self.structures = tuple(structures)
        self.columns = _volume_columns(structures)
        asked = {
            "labels": True,
            "probabilities": probabilities,
            "overlay": overlay,
            "viewer": viewer,
        }
        self.kinds = [kind for kind in _ENDINGS if asked[kind]]
        self.overwrite = overwrite
        text = json.dumps(record, indent=2) + "\n"
        self.decided_by = hashlib.sha256(text.encode()).hexdigest()[:16]
        self.record = record
        with self._alone():
            self._check_table()
            self._claim(text)

    def _alone(self) -> AbstractContextManager[None]:
        """Hold the folder for a moment: what is read in it holds until it is written."""
        return locked(self.folder, _PATIENCE)

    def _check_table(self) -> None:
        """See that the table, if there is one, was written here."""
        if not self.table.is_file():
            return
        with self.table.open(newline="", encoding="utf-8", errors="replace") as file:
            columns = next(csv.reader([file.readline(_LONGEST_HEADER)]), [])
        if not (self.folder / _RECORD).is_file() or not {*COLUMNS} <= {*columns}:
            raise FileExistsError(
                f"{self.table} is no table of gaborseg predict: choose another folder as output"
            )
        try:
            self.rows()
        except (ValueError, csv.Error) as error:
            raise FileExistsError(
                f"{self.table} is damaged, {error}: choose another folder as output"
            ) from error

    def _claim(self, text: str) -> None:
        """Write down what decides the results in this folder, or see that it is the same."""
        if (self.folder / _RECORD).is_file() and not self.overwrite:
            self._check_record()
        else:
            write_text(self.folder / _RECORD, text)

    def _check_record(self) -> None:
        """See that what is written down decides the results here as well."""
        path = self.folder / _RECORD
        try:
            old = dict(load_json(read_text(path)))
        except (OSError, ValueError, TypeError) as error:
            raise FileExistsError(
                f"{path} is damaged: choose another folder, or overwrite=true"
            ) from error
        for key in {**self.record, **_AT_FIRST}:
            before, now = (told.get(key, _AT_FIRST.get(key)) for told in (old, self.record))
            if before != now:
                raise FileExistsError(
                    f"output {self.folder} holds results with {key} {before}, "
                    f"not {now}: choose another folder, or overwrite=true"
                )

    @property
    def table(self) -> Path:
        """The csv file with a row for each scan."""
        return self.folder / _TABLE

    def files_of(self, scan: ScanFiles) -> dict[str, Path]:
        """Where the results of a scan belong, by kind, those that are not asked for too."""
        stem = self.folder / scan.name
        return {kind: stem.with_name(stem.name + ending) for kind, ending in _ENDINGS.items()}

    def work_on(self, scan: ScanFiles) -> Work:
        """What is to be done for a scan; nothing is to be written if it is done.

        Raises:
            FileExistsError: A file is in the way and may not be replaced, or a link is.
        """
        refuse_links_to(self.folder, scan.name)
        files = self.files_of(scan)
        wanted = {kind: files[kind] for kind in self.kinds}
        row = self.rows().get(scan.name)
        present = [path for path in (wanted if row is None else files).values() if path.exists()]
        if not present:
            return Work(wanted)
        if (strange := self._strange(scan, row)) is None:
            return Work({kind: path for kind, path in wanted.items() if path not in present})
        if self.overwrite:
            return Work(wanted, remove=tuple(present))
        raise FileExistsError(f"{present[0]} {strange}; overwrite=true replaces it")

    def _strange(self, scan: ScanFiles, row: _Row | None) -> str | None:
        """Why the files of a scan are not results that this would give, if they are not."""
        if row is None or row["problem"]:
            return "is in the way"
        if row[_DECIDED] != self.decided_by:
            return "is of other models or settings"
        return "is of another scan" if row[SOURCE] != digest(*scan.contents) else None

    def rows(self) -> dict[str, _Row]:
        """The rows of the table by scan.

        Raises:
            ValueError: A row is cut before it names its scan.
        """
        if not self.table.is_file():
            return {}
        with self.table.open(newline="", encoding="utf-8") as file:
            rows = [*csv.DictReader(file)]
        if any(row["scan"] is None for row in rows):
            raise ValueError("a row names no scan")
        return {of_cell(row["scan"]): row for row in rows}

    def keep(
        self,
        scan: ScanFiles,
        made: Mapping[str, Path],
        values: Mapping[str, Any],
        volumes: Mapping[str, float],
    ) -> None:
        """Put a scan's row into the table and its files in their places, the label map last.

        Where a label map is, everything is. What another command has put there meanwhile stays.

        Args:
            scan: The scan.
            made: Its new files, by kind.
            values: For the columns before the volumes.
            volumes: mm^3 by structure.

        Raises:
            FileExistsError: A file has come in the way, or other models write to the folder now.
        """
        with self._alone():
            self._check_record()
            work = self.work_on(scan)
            for path in work.remove:
                path.unlink()
            if "labels" in work.write:
                self._add(scan.name, values, volumes)
            for kind in reversed([kind for kind in _ENDINGS if kind in made.keys() & work.write]):
                with whole_file(work.write[kind]) as place:
                    made[kind].replace(place)

    def _add(self, name: str, values: Mapping[str, Any], volumes: Mapping[str, float]) -> None:
        """Put a row into the table, which is on disk when this returns."""
        texts = {key: _text_of(value, _DECIMALS.get(key)) for key, value in values.items()}
        row = {"scan": as_cell(name), **texts}
        row |= {self.columns[key]: _text_of(volume, 2) for key, volume in volumes.items()}
        rows = self.rows() | {name: row | {_DECIDED: self.decided_by}}
        with write_atomically(self.table) as file:
            columns = [*COLUMNS, *self.columns.values()]
            writer = csv.DictWriter(file, columns, restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows[key] for key in sorted(rows))

    def add_problem(self, scan: ScanFiles, reason: str) -> None:
        """Put down why a scan was not segmented, unless there is a label map: its row stays.

        Raises:
            FileExistsError: Other models write to the folder now.
        """
        with self._alone():
            self._check_record()
            if not self.files_of(scan)["labels"].exists():
                self._add(scan.name, {"problem": reason, "warnings": ""}, {})


def _volume_columns(structures: Sequence[str]) -> dict[str, str]:
    """The column of each structure: its name, made longer where it is that of another column.

    >>> _volume_columns(["left", "scan"])
    {'left': 'left', 'scan': 'scan_mm3'}
    """
    columns = {}
    for name in structures:
        column = as_cell(name)
        while column in COLUMNS or (column != name and column in structures):
            column += "_mm3"
        columns[name] = column
    return columns


def _text_of(value: Any, decimals: int | None) -> str:
    """A value as it stands in the table; nothing for NaN."""
    if decimals is None:
        return as_cell(str(value))
    return "" if math.isnan(value) else f"{value:.{decimals}f}"


def digest(*paths: Path) -> str:
    """Sixteen hexadecimal digits of the content of files."""
    digests = []
    for path in paths:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").digest())
    return hashlib.sha256(b"".join(digests)).hexdigest()[:16]
