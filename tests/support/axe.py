"""axe-core, which finds what keeps people from reading a page, in the tests' browser.

It is one JavaScript file. The package axe-playwright-python brings it; nothing else of that package
is used, so it can be installed with `pip install --no-deps axe-playwright-python`.
"""

from importlib.util import find_spec
from pathlib import Path

from browser import Page

PLAIN = "{textContent: '*::before, *::after { content: none !important; }'}"
PACKAGE = "axe_playwright_python"


def find_axe() -> Path | None:
    """Return the file, None if its package is not installed."""
    found = find_spec(PACKAGE)
    places = (found.submodule_search_locations or []) if found else []
    return next((path for place in places if (path := Path(place) / "axe.min.js").is_file()), None)


def violations(page: Page) -> list[str]:
    """Return a line for every rule that the page breaks: its name and where it is broken.

    Ornaments are taken away first, because axe does not judge the contrast of what lies below one.
    """
    script = find_axe()
    assert script is not None
    page.run(f"void (() => {{ {script.read_text(encoding='utf-8')} }})()")
    page.run(f"void document.head.append(Object.assign(document.createElement('style'), {PLAIN}))")
    found = page.run(
        "axe.run(document, {resultTypes: ['violations']}).then(found => found.violations.map("
        "rule => `${rule.id}: ${rule.nodes.map(node => node.target.join(' ')).join(', ')}`))"
    )
    return list(found)
