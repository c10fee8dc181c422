"""The file that says which runs a sweep consists of, so that those not yet begun are known."""

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaborseg.machine import load_json, read_text, write_atomically
from gaborseg.sweeps.cells import Cell

PLAN = "sweep.json"


def write_plan(
    folder: Path, cells: Sequence[Cell], overrides: Sequence[str], *, more: bool = False
) -> None:
    """Write the folders of all cells, relative to the sweep's, their names, and the overrides.

    Args:
        folder: The sweep's.
        cells: Its runs.
        overrides: The command's.
        more: Add the cells to those that are planned: a search goes on with what it has found.
    """
    runs = {os.path.relpath(cell.folder, folder): cell.name for cell in cells}
    before = _read(folder) if more else {}
    known = before.get("runs", {})
    planned = {**known, **{run: name for run, name in runs.items() if run not in known}}
    _write(folder, {**before, "overrides": [*overrides], "runs": planned})


def read_plan(folder: Path) -> dict[Path, str]:
    """Return the run folders of the last sweep in a folder and their names; none without one."""
    with contextlib.suppress(AttributeError, TypeError, ValueError, OSError):
        runs = _read(folder).get("runs", {})
        return {_place(folder, run): str(name) for run, name in runs.items()}
    return {}


def _place(folder: Path, run: str) -> Path:
    """Return a run's folder, whether it is there or not.

    Raises:
        OSError, ValueError: No folder can be called so.
    """
    place = Path(os.path.normpath(folder / run))
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        place.lstat()
    return place


@dataclass(frozen=True)
class Round:
    """A part of a search: runs that were trained as far as each other, and then compared.

    Attributes:
        objective: The metric by which they are compared, a column of ``metrics.csv``.
        direction: ``"maximize"`` or ``"minimize"``.
        epochs: How far they were trained; None: to their end.
        values: The objective of each run by its folder; None where a run failed or diverged.
    """

    objective: str
    direction: str
    epochs: int | None
    values: Mapping[Path, float | None]

    def ranked(self) -> list[Path]:
        """Return the folders of the runs that have a value, the best first."""
        sign = 1 if self.direction == "minimize" else -1
        values = {run: value for run, value in self.values.items() if value is not None}
        return sorted(values, key=lambda run: sign * values[run])


def note_round(folder: Path, found: Round) -> None:
    """Add a round to the search that a sweep's file tells of."""
    plan = _read(folder)
    values = {os.path.relpath(run, folder): value for run, value in found.values.items()}
    plan.setdefault("rounds", []).append({**vars(found), "values": values})
    _write(folder, plan)


def read_rounds(folder: Path) -> list[Round]:
    """Return the rounds of the search in a sweep's folder; none if it is no search."""
    kinds = (AttributeError, TypeError, ValueError, KeyError, OverflowError, OSError)
    with contextlib.suppress(*kinds):
        return [_round(folder, told) for told in _read(folder).get("rounds", [])]
    return []


def _round(folder: Path, told: Mapping[str, Any]) -> Round:
    values = {
        _place(folder, run): None if value is None else float(value)
        for run, value in told["values"].items()
    }
    epochs = None if told["epochs"] is None else int(told["epochs"])
    return Round(str(told["objective"]), str(told["direction"]), epochs, values)


def _read(folder: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        if isinstance(content := load_json(read_text(folder / PLAN)), dict):
            return content
    return {}


def _write(folder: Path, plan: Mapping[str, Any]) -> None:
    with write_atomically(folder / PLAN) as file:
        json.dump(plan, file, indent=2)
        file.write("\n")
