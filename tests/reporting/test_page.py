import base64
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from browser import Page
from gaborseg.reporting.page.page import Gallery, Picture, make_page
from gaborseg.reporting.page.page_data import page_data
from gaborseg.reporting.report_tables import all_tables
from gaborseg.reporting.tables import Column, Table
from gaborseg.study import Results, compute
from synthetic_runs import study_of, write_grid, write_small_run

pytestmark = pytest.mark.slow

MINUS = "\N{MINUS SIGN}"
READY = "document.documentElement.dataset.ready"
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Of 17 runs: three kernels, three losses, two rates, one run lacking."""
    folder = tmp_path_factory.mktemp("runs")
    write_grid(folder, rates=(1e-3, 1e-2), splits=(0,))
    shutil.rmtree(folder / "kernel=gabor,loss=dice,lr=1e-2.0,split=0")
    return compute(study_of(folder))


@pytest.fixture(scope="module")
def report(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    gallery = Gallery("kernels", "Kernels", (Picture(PIXEL, "One & only <pixel>"),))
    columns = (Column("layer"), Column("sigma median"))
    kernels = Table("kernels_mixed", "Gabor kernels", columns, (("up", 1.5), ("down", 2.5)))
    tables = [*all_tables(results), kernels]
    page = make_page(results, tables, [gallery], title="Test <b>report</b>")
    (folder / "index.html").write_text(page, encoding="utf-8")
    return folder / "index.html"


@pytest.fixture
def page(chromium: Page, report: Path) -> Page:
    chromium.errors.clear()
    chromium.requests.clear()
    chromium.open(report, READY)
    return chromium


def column(page: Page, table: str, number: int) -> list[str]:
    """The texts of a column of a table, from above."""
    cells = f"#table-{table} tbody tr > :nth-child({number})"
    return page.run(f"[...document.querySelectorAll({json.dumps(cells)})].map(e => e.textContent)")


def click(page: Page, selector: str) -> None:
    page.run(f"document.querySelector({json.dumps(selector)}).click()")


def numbers(texts: list[str]) -> list[float]:
    return [float(re.split(r"[ ±]", text.replace(MINUS, "-"))[0]) for text in texts]


def test_the_page_loads_without_errors_and_without_a_network(page: Page, report: Path) -> None:
    assert page.errors == []
    outside = [url for url in page.requests if not url.startswith("data:")]
    assert outside == [report.absolute().as_uri()]


def test_titles_and_texts_cannot_inject_anything(page: Page) -> None:
    assert page.run("document.querySelector('h1').textContent") == "Test <b>report</b>"
    assert page.run("document.querySelector('figcaption').textContent") == "One & only <pixel>"


def test_the_table_shows_the_numbers_of_the_results(page: Page, results: Results) -> None:
    expected = [f"{100 * mean:.1f}" for mean in results.summaries["dice"]["conventional-pcc"].mean]
    assert column(page, "structures", 2) == expected


def test_a_click_on_a_heading_sorts_and_another_one_turns_the_order(page: Page) -> None:
    before = column(page, "structures", 2)
    click(page, "[data-sort='structures/1']")
    down = numbers(column(page, "structures", 2)[:-1])
    assert down == sorted(numbers(before[:-1]), reverse=True)
    click(page, "[data-sort='structures/1']")
    assert numbers(column(page, "structures", 2)[:-1]) == down[::-1]
    heading = "document.querySelector('[data-sort=\"structures/1\"]').parentElement.ariaSort"
    assert page.run(heading) == "ascending"
    assert column(page, "structures", 1)[-1] == "average"


def test_sorting_works_from_the_keyboard_and_keeps_the_focus(page: Page) -> None:
    page.run("document.querySelector('[data-sort=\"structures/0\"]').focus()")
    page.press("Enter")
    names = column(page, "structures", 1)[:-1]
    assert names == sorted(names, key=str.lower)
    assert page.run("document.activeElement.dataset.sort") == "structures/0"


TABLES = ["robustness", "ranks", "cost", "runs", "comparisons", "volumes", "kernels_mixed"]


@pytest.mark.parametrize("table", TABLES)
def test_every_table_sorts(page: Page, table: str) -> None:
    last = page.run(f"document.querySelectorAll('#table-{table} thead th').length")
    orders = set()
    for _ in range(2):
        click(page, f"[data-sort='{table}/{last - 1}']")
        orders.add(tuple(column(page, table, last)))
    assert page.errors == []
    ascending, descending = sorted(orders)[0], sorted(orders)[-1]
    assert sorted(ascending) == sorted(descending)


def test_the_numbers_of_kernels_stand_below_their_pictures(page: Page) -> None:
    inside = "document.querySelector('#kernels figure ~ div #table-kernels_mixed') !== null"
    assert page.run(inside)
    assert column(page, "kernels_mixed", 1) == ["up", "down"]


def test_times_say_their_device(page: Page) -> None:
    tips = "[...document.querySelectorAll('#cost .mark')].map(e => e.dataset.tip)"
    assert sum(tip.endswith("s a step\non CPU") for tip in page.run(tips)) == 9


def test_a_configuration_switched_off_leaves_tables_and_charts(page: Page) -> None:
    def count() -> dict[str, int]:
        return {
            "columns": page.run(
                "document.querySelectorAll('#table-structures tr:last-child th').length"
            ),
            "rates": page.run("document.querySelectorAll('#learning-rate .mark').length"),
            "dots": page.run("document.querySelectorAll('#structures .mark').length"),
            "costs": len(column(page, "cost", 1)),
            "matrix": len(column(page, "matrix", 1)),
            "curves": page.run("document.querySelectorAll('#training .mark').length"),
        }

    before = count()
    click(page, "[data-switch='mixed-pcc']")
    after = count()
    assert {name: before[name] - after[name] for name in before} == {
        "columns": 1,
        "rates": 2,
        "dots": 20,
        "costs": 1,
        "matrix": 1,
        "curves": 1,
    }
    click(page, "[data-switch='mixed-pcc']")
    assert count() == before


def test_a_structure_switched_off_leaves_rows_and_the_average(page: Page, results: Results) -> None:
    for index in range(2, 19):
        click(page, f"[data-switch='{index}']")
    names = column(page, "structures", 1)
    assert names == ["cerebral grey", "3rd ventricle", "average of the 2 selected"]
    expected = 100 * results.summaries["dice"]["conventional-pcc"].mean[:2].mean()
    assert numbers(column(page, "structures", 2))[-1] == pytest.approx(expected, abs=0.051)


def test_everything_can_be_switched_off_and_on_again(page: Page) -> None:
    before = page.run("document.getElementById('sections').textContent")
    for word in ("none", "all"):
        page.run(f"document.querySelectorAll('[aria-label$=\": {word}\"]').forEach(b => b.click())")
        assert page.errors == []
    assert page.run("document.getElementById('sections').textContent") == before


def test_another_score_is_shown_with_its_unit(page: Page) -> None:
    click(page, "#structures [data-id='hd95']")
    assert "test HD95 [mm]" in page.run("document.querySelector('#structures .chart').textContent")
    worst = "95th percentile of the distances"
    assert worst in page.run("document.getElementById('structures').textContent")


def test_the_papers_numbers_stand_beside_ours_when_asked_for(page: Page) -> None:
    assert "paper" not in " ".join(column(page, "structures", 2))
    click(page, "#structures input[type='checkbox']")
    texts = column(page, "structures", 2)
    assert texts[0].endswith("paper 88 ± 1")
    assert texts[-1].endswith("paper 83 ± 0")


def test_the_matrix_holds_the_differences_row_minus_column(page: Page, results: Results) -> None:
    row = next(r for r in results.comparisons["dice"] if r.structure == "average")
    text = page.run("document.querySelector('#table-matrix td:nth-child(3)').textContent")
    assert numbers([text])[0] == pytest.approx(100 * row.difference, abs=0.0051)


def test_every_comparison_says_from_how_many_subjects_it_comes(page: Page) -> None:
    assert set(column(page, "comparisons", 9)) == {"13"}


def test_values_of_a_chart_can_be_reached_by_keyboard(page: Page) -> None:
    page.run("document.querySelector('#learning-rate svg[tabindex]').focus()")
    page.press("ArrowRight")
    tip = page.run("document.getElementById('tip').textContent")
    assert re.search(r"learning rate 10\^-3: \d+\.\d %\n13 subjects, 1 split", tip)
    page.press("Escape")
    assert page.run("document.getElementById('tip').hidden")


def test_the_colours_follow_the_system_until_a_choice_is_made(page: Page) -> None:
    shown = "document.documentElement.dataset.theme"
    page.resize(1280, 900, dark=True)
    page.wait(f"{shown} === 'dark'")
    click(page, "#theme")
    assert page.run(shown) == "light"
    page.run("localStorage.clear()")
    page.resize(1280, 900)


def test_on_paper_of_a4_no_table_is_cut(page: Page) -> None:
    page.resize(1047, 700)
    page.call("Emulation.setEmulatedMedia", media="print")
    cut = """[...document.querySelectorAll('.scroll')]
        .filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.ariaLabel)"""
    try:
        assert page.run(cut) == []
    finally:
        page.resize(1280, 900)


@pytest.mark.parametrize("width", [360, 390, 768, 1366, 1920, 2560])
def test_the_page_is_never_wider_than_the_screen(page: Page, width: int) -> None:
    page.resize(width, 900)
    page.wait(f"document.querySelector('.chart svg').clientWidth < {width}")
    assert page.run("document.documentElement.scrollWidth") <= width
    page.resize(1280, 900)


def test_on_a_phone_the_switches_open_and_close(page: Page) -> None:
    page.resize(390, 844)
    visible = "getComputedStyle(document.getElementById('switches')).visibility"
    page.wait(f"{visible} === 'hidden'")
    click(page, "#open-switches")
    page.wait(f"{visible} === 'visible'")
    click(page, "#close-switches")
    page.wait(f"{visible} === 'hidden'")
    page.resize(1280, 900)


def test_every_control_has_a_name_for_screen_readers(page: Page) -> None:
    nameless = """[...document.querySelectorAll('button, select, input, svg[tabindex], img')]
        .filter(e => ![e.textContent, e.ariaLabel, e.alt, e.closest('label')?.textContent].join(""))
        .map(e => e.outerHTML)"""
    assert page.run(nameless) == []


def test_a_page_of_one_run_has_no_comparisons_and_no_errors(chromium: Page, tmp_path: Path) -> None:
    write_small_run(tmp_path / "runs/one")
    results = compute(study_of(tmp_path / "runs"))
    (tmp_path / "index.html").write_text(make_page(results, all_tables(results)))
    chromium.errors.clear()
    chromium.open(tmp_path / "index.html", READY)
    assert chromium.errors == []
    titles = chromium.run("[...document.querySelectorAll('section h2')].map(e => e.textContent)")
    assert "Structures" in titles
    assert not {"Statistics", "Learning rate"} & set(titles)


def test_a_page_without_any_score_has_no_errors(chromium: Page, tmp_path: Path) -> None:
    for loss, rate in (("pcc", 1e-2), ("pcc", 1e-3), ("dice", 1e-3)):
        write_small_run(tmp_path / f"runs/{loss}{rate}", dice=float("nan"), loss=loss, rate=rate)
    results = compute(study_of(tmp_path / "runs"))
    (tmp_path / "index.html").write_text(make_page(results, all_tables(results)))
    chromium.errors.clear()
    chromium.open(tmp_path / "index.html", READY)
    assert chromium.errors == []


def test_the_numbers_of_the_page_are_json_without_nan(tmp_path: Path) -> None:
    write_small_run(tmp_path / "one")
    data: dict[str, Any] = page_data(compute(study_of(tmp_path)), [])
    text = json.dumps(data, allow_nan=False)
    assert data["scores"]["dice"]["mixed-pcc"]["values"] == [[0.5, 0.5]]
    assert "NaN" not in text
