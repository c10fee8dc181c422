"""A viewer as one HTML file, and its parts for pages that hold more."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from matplotlib.colors import to_hex

from gaborseg.pictures.structure_colors import structure_colors
from gaborseg.pictures.subject import BIG_TISSUES

_HERE = Path(__file__).parent
STYLE, SCRIPT = "viewer.css", "viewer.js"


def viewer_book(structures: Sequence[str], cases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return all that a viewer shows: names and colours of the labels 1 ... n, and the cases.

    Args:
        structures: Names of the labels 1 ... n.
        cases: Of ``viewer_case``, in the order in which the reader can choose them.
    """
    from gaborseg.study import readable  # slow to import; every run imports this room

    return {
        "structures": [readable(name) for name in structures],
        "colors": [to_hex(color) for color in structure_colors(len(structures))],
        "hidden": [label for label, name in enumerate(structures, 1) if name in BIG_TISSUES],
        "cases": list(cases),
    }


@cache
def viewer_text(name: str) -> str:
    """Return the viewer's style (``STYLE``) or script (``SCRIPT``), for a page that embeds it."""
    return (_HERE / name).read_text(encoding="utf-8")


def as_json(value: Any) -> str:
    """Return a value as JSON that may stand in a script element of a page."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def viewer_page(title: str, book: Mapping[str, Any]) -> str:
    """Return a viewer as an HTML page that needs no other file and no network.

    Args:
        title: Its heading.
        book: Of ``viewer_book``, with at least one case.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # slow to import

    loader = FileSystemLoader(_HERE)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    return environment.get_template("sheet.html.j2").render(
        title=title, style=viewer_text(STYLE), script=viewer_text(SCRIPT), book=as_json(book)
    )
