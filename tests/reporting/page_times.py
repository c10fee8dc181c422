"""How large is a report's page, and how long until it answers?

    export PYTHONPATH=tests/support
    python tests/reporting/page_times.py                pages of 1, 15, 138 and 225 synthetic runs
    python tests/reporting/page_times.py PAGE ...       pages that are there: index.html of reports

The runs are those of the paper's grid as the tests make them (three kernels, three losses, five
rates, five splits, 19 structures, 13 test subjects, 40 epochs), split by split. Their pages have
all tables and charts, but neither pictures nor a viewer. A page answers from the second frame after
it is loaded: by then its scripts have run and its charts are drawn. Each is opened several times in
a browser that runs already; the median is printed.
"""

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from browser import Page, browser
from gaborseg.reporting.page.page import make_page
from gaborseg.reporting.report_tables import all_tables
from gaborseg.runs import TECHNICAL, find_run_folders
from gaborseg.study import compute, make_study, read_runs
from synthetic_runs import write_grid

COUNTS = (1, 15, 138, 225)
TIMES = 7
ANSWERS = """window.addEventListener("load", () => requestAnimationFrame(
    () => requestAnimationFrame(() => { window.answers = performance.now(); })));"""


def main() -> None:
    """Print a line for each page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pages", type=Path, nargs="*", metavar="PAGE")
    pages = parser.parse_args().pages
    with tempfile.TemporaryDirectory() as folder, browser() as page:
        page.resize(1366, 768)
        page.call("Page.addScriptToEvaluateOnNewDocument", source=ANSWERS)
        for path in pages or synthetic_pages(Path(folder)):
            times = [milliseconds(page, path) for _ in range(TIMES)]
            size = path.stat().st_size / 1000
            spread = f"{min(times):.0f} - {max(times):.0f}"
            name = path if pages else path.name
            print(f"{name}: {size:,.0f} kB, {statistics.median(times):.0f} ms ({spread})")


def synthetic_pages(folder: Path) -> Iterator[Path]:
    """Yield a page for each number of runs."""
    write_grid(folder / "runs")
    runs = sorted(find_run_folders([folder / "runs"]), key=lambda path: path.name[::-1])
    for count in COUNTS:
        results = compute(make_study(*read_runs(runs[:count]), TECHNICAL))
        path = folder / f"{count}_runs.html"
        path.write_text(make_page(results, all_tables(results)), encoding="utf-8")
        yield path


def milliseconds(page: Page, path: Path) -> float:
    """Return the time from the start of loading until a page answers."""
    page.call("Page.navigate", url="about:blank")
    page.open(path, "window.answers")
    return float(page.run("window.answers"))


if __name__ == "__main__":
    main()
