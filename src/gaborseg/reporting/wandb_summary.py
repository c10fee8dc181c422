"""The tables and figures of a report as one W&B run, beside the runs that they are about."""

import csv
import hashlib
import io
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import PIL.Image

from gaborseg.machine import of_cell
from gaborseg.reporting.tables import Table
from gaborseg.study import Results
from gaborseg.training import MODES, chosen_mode, start_run

log = logging.getLogger(__name__)

NONE = "none"


def check_mode(mode: str) -> None:
    """Check how W&B is to be used.

    Raises:
        ValueError: If the mode is unknown.
    """
    if mode not in (NONE, *MODES):
        raise ValueError(f"wandb must be one of {', '.join((NONE, *MODES))}, got {mode}")


def log_summary(
    folder: Path,
    results: Results,
    tables: Sequence[Table],
    figures: Mapping[str, bytes],
    *,
    title: str,
    project: str,
    entity: str | None,
    mode: str,
) -> None:
    """Log tables as ``tables/NAME``, figures as ``figures/NAME``, and the means as a summary.

    The run's id follows from project and title: a report made again replaces its run.

    Args:
        folder: Gets the offline files.
        results: What is logged as the summary: mean test Dice of each configuration.
        tables: All tables.
        figures: PNG files by name.
        title: Of the report, and name of the run.
        project: W&B project.
        entity: W&B user or team; the account's own if None.
        mode: ``"auto"`` (online if a key is found), ``"online"`` or ``"offline"``.
    """
    import wandb  # slow to import, and not needed without this run

    mode = chosen_mode(mode)
    identity = hashlib.sha256(f"{project} {title}".encode()).hexdigest()[:12]
    earlier = [*folder.glob(f"wandb/offline-run-*-{identity}")]
    run = start_run(
        mode=mode if mode == "online" else "offline",
        dir=folder,
        project=project,
        entity=entity,
        id=identity,
        name=title,
        group="report",
        job_type="summary",
        tags=["summary"],
        config={"runs": len(results.study.runs), "structures": list(results.study.structures)},
    )
    images = {f"figures/{name}": wandb.Image(picture(png)) for name, png in figures.items()}
    run.log({f"tables/{table.name}": _wandb_table(table) for table in tables} | images)
    for configuration in results.shown:
        mean = float(results.summaries["dice"][configuration.id].mean[-1])
        run.summary[f"test/dice/{configuration.id}"] = mean
    run.finish()
    for replaced in earlier:
        shutil.rmtree(replaced, ignore_errors=True)
    if mode == "offline":
        log.info(f"W&B is offline; to upload: wandb sync {folder}/wandb/offline-run-*")


def picture(png: bytes) -> PIL.Image.Image:
    """Return a PNG file as an image."""
    return PIL.Image.open(io.BytesIO(png))


def _wandb_table(table: Table) -> Any:
    """Return a table for W&B, numbers as numbers."""
    import wandb

    heading, *rows = csv.reader(io.StringIO(table.csv()))
    data = [[number(of_cell(cell)) for cell in row] for row in rows]
    return wandb.Table(columns=[*map(of_cell, heading)], data=data, allow_mixed_types=True)


def number(cell: str) -> str | float | None:
    """Return a cell of a csv file as a number if it is one, None if it is empty."""
    try:
        return float(cell)
    except ValueError:
        return cell or None
