"""The page of a report: one HTML file with its style, scripts, numbers and pictures inside."""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from gaborseg.pictures import SCRIPT, STYLE, as_json, viewer_text
from gaborseg.reporting.page.page_data import page_data
from gaborseg.reporting.report_tables import rate_note
from gaborseg.reporting.subjects.confusion import Confusion
from gaborseg.reporting.tables import Table
from gaborseg.study import ALPHA, RESAMPLES, Results, Study

_HERE = Path(__file__).parent
_SCRIPTS = (
    "base.js",
    "tables.js",
    "charts.js",
    "curves.js",
    "subjects.js",
    "cases.js",
    "sections.js",
    "address.js",
    "main.js",
)
_DRAWN = (
    "structures_",
    "comparisons_",
    "confusion_",
    "paper",
    "learning_rate",
)  # tables that the page makes anew
_LONG = ("runs", "comparisons", "confusion_")  # tables that a page without scripts leaves out


@dataclass(frozen=True)
class Picture:
    """A picture of the page.

    Attributes:
        png: The file's bytes.
        text: What it shows.
        name: Of its files in the report, empty if it has none.
    """

    png: bytes
    text: str
    name: str = ""

    @property
    def drawn(self) -> bool:
        """Whether it is a chart, whose colours may be turned round where the page is dark."""
        return self.name.endswith(("kernel_distributions", "kernel_layers"))

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
    *,
    confused: Mapping[str, Confusion] | None = None,
    book: Mapping[str, Any] | None = None,
    figures: Sequence[str] = (),
) -> str:
    """Return the page as HTML that needs no other file and no network.

    Args:
        results: What it shows.
        tables: All tables; those that the page does not make anew from the numbers are in it.
        galleries: Sections of pictures.
        title: Its heading.
        confused: Confusions of structures by configuration id.
        book: What the viewer shows; without it there is none.
        figures: Names of the figures whose files are beside the page.
    """
    study = results.study
    kept = [table for table in tables if not table.name.startswith(_DRAWN)]
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
            plain_tables=[t for t in tables if not t.name.startswith(_LONG)],
            pictures=galleries,
            tolerance=_tolerance(results),
            resamples=RESAMPLES,
            alpha=ALPHA,
            data=as_json(
                page_data(results, kept, confused)
                | {"viewer": _names(book), "figures": list(figures)}
            ),
            book=as_json(book),
            style=_text("style.css") + viewer_text(STYLE),
            script="\n".join([viewer_text(SCRIPT), *map(_text, _SCRIPTS)]),
        )
    )


def _names(book: Mapping[str, Any] | None) -> list[str]:
    return [case["name"] for case in book["cases"]] if book else []


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
        f"{_tested(study)} in {_counted(len(splits), 'split')}",
        f"{_counted(len(study.structures), 'structure')}",
    ]
    where = f"{data['name']}{f', {size} voxels' if size else ''}" if data.get("name") else ""
    return f"{', '.join(parts)}{f' ({where})' if where else ''}. Compared at {rate_note(results)}"


def _tested(study: Study) -> str:
    """Return how many people were tested, and on how many scans if these are more."""
    people = _counted(len(set(study.people)), "test subject")
    scans = len(study.subjects)
    return people if scans == len(set(study.people)) else f"{scans:,} scans of {people}"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _tolerance(results: Results) -> str:
    """Return the millimetres that surfaces may be off for NSD, empty if that is not recorded."""
    told = set[str]().union(*results.nsd_tolerances.values()) - {"?"}
    return " or ".join(sorted(told))


def _raised(text: str) -> Markup:
    """Return text in which 10^-3 has a raised exponent."""
    return Markup(re.sub(r"10\^(-?[\d.]*\d)", r"10<sup>\1</sup>", str(escape(text))))
