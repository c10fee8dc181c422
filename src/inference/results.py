"""A folder of results: which scans are done, their volumes in a table, by which models they are."""

import csv
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.inference.inputs import ScanFiles
from src.inference.outputs import whole_file

TABLE, RECORD = "volumes.csv", "predict.json"
SOURCE = "source"
"""The column that tells the scan's content."""
DECIMALS = {"seconds": 1, "confidence": 4, "unlikeness": 3, "field_of_view_mm": 1}
COLUMNS = ("scan", "problem", "warnings", *DECIMALS, SOURCE)
Row = dict[str, str]


@dataclass(frozen=True)
class ResultFiles:
    """Where the results of one scan belong, those that are asked for."""

    labels: Path
    probabilities: Path | None
    overlay: Path | None

    @property
    def wanted(self) -> list[Path]:
        """All of them."""
        return [path for path in (self.labels, self.probabilities, self.overlay) if path]


class Results:
    """The results in a folder, scan by scan; nothing in it is overwritten unless told.

    Args:
        folder: Where they are, or will be.
        structures: Names of the labels 1 ... C-1, the columns of the table.
        record: What decides the results: models and settings.
        probabilities: Whether probabilities are asked for.
        overlay: Whether pictures are asked for.
        overwrite: Whether existing results may be replaced.

    Raises:
        FileExistsError: The folder holds results that something else has decided.
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
        overwrite: bool = False,
    ) -> None:
        self.folder = folder
        self.structures = tuple(structures)
        self.probabilities, self.overlay = probabilities, overlay
        self.overwrite = overwrite
        self._claim(record)

    def _claim(self, record: Mapping[str, Any]) -> None:
        """Write down what decides the results in this folder, or see that it is the same."""
        path = self.folder / RECORD
        if path.is_file() and not self.overwrite:
            old = json.loads(path.read_text(encoding="utf-8"))
            for key, value in record.items():
                if old.get(key) != value:
                    raise FileExistsError(
                        f"output {self.folder} holds results with {key} {old.get(key)}, "
                        f"not {value}: choose another folder, or overwrite=true"
                    )
            return
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

    @property
    def table(self) -> Path:
        """The table of all scans."""
        return self.folder / TABLE

    def files_of(self, scan: ScanFiles) -> ResultFiles:
        """Where the results of a scan belong."""
        stem = self.folder / scan.name
        return ResultFiles(
            labels=stem.with_name(f"{stem.name}_dseg.nii.gz"),
            probabilities=stem.with_name(f"{stem.name}_probabilities.nii.gz")
            if self.probabilities
            else None,
            overlay=stem.with_name(f"{stem.name}_overlay.png") if self.overlay else None,
        )

    def is_done(self, scan: ScanFiles) -> bool:
        """Return whether a scan has all its results already.

        Raises:
            FileExistsError: A file is in the way that is none of them, or the scan has changed.
        """
        if self.overwrite:
            return False
        files = self.files_of(scan)
        row = self.rows().get(scan.name)
        present = [path for path in files.wanted if path.exists()]
        if present and (row is None or row["problem"]):
            raise FileExistsError(f"{present[0]} is in the way; overwrite=true replaces it")
        if present and row is not None and row[SOURCE] != digest(*scan.files):
            raise FileExistsError(f"{present[0]} is of another scan; overwrite=true replaces it")
        return len(present) == len(files.wanted)

    def rows(self) -> dict[str, Row]:
        """The rows of the table by scan."""
        if not self.table.is_file():
            return {}
        with self.table.open(newline="", encoding="utf-8") as file:
            return {row["scan"]: row for row in csv.DictReader(file)}

    def add(self, name: str, values: Mapping[str, Any], volumes: Mapping[str, float]) -> None:
        """Put a scan's row into the table, which is on disk when this returns.

        Args:
            name: The scan's.
            values: For the columns before the volumes.
            volumes: mm^3 by structure, none if there was a problem.
        """
        texts = {key: text_of(value, DECIMALS.get(key)) for key, value in values.items()}
        row = {"scan": name, **texts, **{key: text_of(v, 2) for key, v in volumes.items()}}
        rows = self.rows() | {name: row}
        with (
            whole_file(self.table) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            columns = [*COLUMNS, *self.structures]
            writer = csv.DictWriter(file, columns, restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows[key] for key in sorted(rows))


def text_of(value: Any, decimals: int | None) -> str:
    """A value as it stands in the table; nothing for NaN."""
    if decimals is None:
        return str(value)
    return "" if math.isnan(value) else f"{value:.{decimals}f}"


def digest(*paths: Path) -> str:
    """Sixteen hexadecimal digits of the content of files."""
    digests = []
    for path in paths:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").digest())
    return hashlib.sha256(b"".join(digests)).hexdigest()[:16]
