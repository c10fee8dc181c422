"""The file that says which runs a sweep consists of, so that those not yet begun are known."""

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from gaborseg.machine import load_json, read_text, write_atomically
from gaborseg.sweeps.cells import Cell

PLAN = "sweep.json"


def write_plan(folder: Path, cells: Sequence[Cell], overrides: Sequence[str]) -> None:
    """Write the folders of all cells, relative to the sweep's, their names, and the overrides."""
    runs = {os.path.relpath(cell.folder, folder): cell.name for cell in cells}
    with write_atomically(folder / PLAN) as file:
        json.dump({"overrides": [*overrides], "runs": runs}, file, indent=2)
        file.write("\n")


def read_plan(folder: Path) -> dict[Path, str]:
    """Return the run folders of the last sweep in a folder and their names; none without one."""
    with contextlib.suppress(OSError, ValueError, KeyError, AttributeError, TypeError):
        runs = load_json(read_text(folder / PLAN))["runs"]
        return {Path(os.path.normpath(folder / run)): str(name) for run, name in runs.items()}
    return {}
