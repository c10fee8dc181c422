"""The page of a report: one HTML file with its style, scripts, numbers and pictures inside."""

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from gaborseg.reporting.page.page_data import page_data
from gaborseg.reporting.report_tables import rate_note
from gaborseg.reporting.tables import Table
from gaborseg.study import ALPHA, RESAMPLES, Results

_HERE = Path(__file__).parent
_SCRIPTS = ("base.js", "tables.js", "charts.js", "sections.js", "main.js")
_DRAWN = (
    "structures_",
    "comparisons_",
    "paper",
    "learning_rate",
)  # tables that the page makes anew


@dataclass(frozen=True)
class Picture:
    """A picture of the page.

    Attributes:
        png: The file's bytes.
        text: What it shows.
    """

    png: bytes
    text: str

    @property
    def source(self) -> str:
        """The picture as an address that holds it."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


@dataclass(frozen=True)
class Gallery:
    """A section of pictures."""

    id: str
    title: str
    pictures: tuple[Picture, ...]


def make_page(
    results: Results,
    tables: Sequence[Table],
    galleries: Sequence[Gallery] = (),
    title: str = "Segmentation report",
) -> str:
    """Return the page as HTML that needs no other file and no network.

    Args:
        results: What it shows.
        tables: All tables; those that the page does not make anew from the numbers are in it.
        galleries: Sections of pictures.
        title: Its heading.
    """
    study = results.study
    kept = [table for table in tables if not table.name.startswith(_DRAWN)]
    numbers = json.dumps(page_data(results, kept), ensure_ascii=False, separators=(",", ":"))
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            title=title,
            kicker="3D segmentation, tested",
            lead=_lead(results),
            problems=study.problems,
            unfinished=_unfinished(results),
            notes=results.notes,
            plain_tables=[t for t in tables if not t.name.startswith(("runs", "comparisons"))],
            pictures=galleries,
            tolerance=_tolerance(results),
            resamples=RESAMPLES,
            alpha=ALPHA,
            data=numbers.replace("<", "\\u003c"),
            style=_text("style.css"),
            script="\n".join(map(_text, _SCRIPTS)),
        )
    )


@cache
def _environment() -> Environment:
    loader = FileSystemLoader(_HERE)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    environment.filters["rich"] = _raised
    return environment


@cache
def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _unfinished(results: Results, shown: int = 12) -> list[str]:
    """Return a line for each run that is not finished, and for those that were not begun."""
    study = results.study
    lines = [
        f"{run.folder.name}: {run.epochs[0]} of {run.epochs[1] or '?'} epochs"
        + (f", ended by an error: {run.failure}" if run.failure else "")
        for run in study.unfinished
    ]
    if len(lines) > shown:
        lines = [*lines[:shown], f"{len(lines) - shown} more; see the table of runs"]
    if study.missing:
        lines.append(f"{_counted(len(study.missing), 'run')} of a sweep not begun")
    return lines


def _lead(results: Results) -> str:
    study = results.study
    data = study.runs[0].data
    sizes = {" x ".join(map(str, run.data.get("size") or ())) for run in study.runs}
    size = " or ".join(sorted(sizes - {""}, key=lambda size: (len(size), size)))
    splits = {run.split for run in study.runs}
    parts = [
        f"{_counted(len(study.runs), 'finished run')} of "
        f"{_counted(len(study.configurations), 'configuration')}",
        f"{_counted(len(study.subjects), 'test subject')} in {_counted(len(splits), 'split')}",
        f"{_counted(len(study.structures), 'structure')}",
    ]
    where = f"{data['name']}{f', {size} voxels' if size else ''}" if data.get("name") else ""
    return f"{', '.join(parts)}{f' ({where})' if where else ''}. Shown at {rate_note(results)}"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _tolerance(results: Results) -> str:
    """Return the millimetres that surfaces may be off for NSD, empty if that is not recorded."""
    told = set[str]().union(*results.nsd_tolerances.values()) - {"?"}
    return " or ".join(sorted(told))


def _raised(text: str) -> Markup:
    """Return text in which 10^-3 has a raised exponent."""
    return Markup(re.sub(r"10\^(-?[\d.]*\d)", r"10<sup>\1</sup>", str(escape(text))))
