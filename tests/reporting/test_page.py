import base64
import json
import re
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pypdf import PdfReader

from axe import find_axe, violations
from browser import Page
from gaborseg.reporting.charts import SCORES
from gaborseg.reporting.page.page import Gallery, Picture, make_page
from gaborseg.reporting.page.page_data import page_data
from gaborseg.reporting.report_tables import all_tables
from gaborseg.reporting.run_tables import edge_notes
from gaborseg.reporting.tables import Column, Table
from gaborseg.study import Results, compute
from synthetic_runs import study_of, write_grid, write_small_run

pytestmark = pytest.mark.slow

MINUS = "\N{MINUS SIGN}"
FIGURES = (*SCORES, "learning_rate", "differences", "training_curves", "parameters", "cost")
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
    pictures = (Picture(PIXEL, "One & only <pixel>"), Picture(PIXEL, "Layers", "kernel_layers"))
    gallery = Gallery("kernels", "Kernels", pictures)
    columns = (Column("layer"), Column("sigma median"))
    kernels = Table("kernels_mixed", "Gabor kernels", columns, (("up", 1.5), ("down", 2.5)))
    tables = [*all_tables(results), kernels]
    page = make_page(results, tables, [gallery], title="Test <b>report</b>", figures=FIGURES)
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


def test_every_table_sorts(page: Page) -> None:
    for table in TABLES:
        last = page.run(f"document.querySelectorAll('#table-{table} thead th').length")
        orders = set()
        for _ in range(2):
            click(page, f"[data-sort='{table}/{last - 1}']")
            orders.add(tuple(column(page, table, last)))
        assert page.errors == [], table
        ascending, descending = sorted(orders)[0], sorted(orders)[-1]
        assert sorted(ascending) == sorted(descending), table


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
    click(page, "[aria-label='Structures: none']")
    for index in range(2):
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


def test_a_best_rate_at_the_edge_is_said_beside_its_plot(page: Page, results: Results) -> None:
    words = page.run("document.querySelector('#learning-rate .note strong').textContent")
    assert edge_notes(results)
    assert words == " ".join(edge_notes(results)).replace("10^-", f"10{MINUS}")


def test_the_shape_of_a_mark_tells_the_kernel_everywhere(page: Page) -> None:
    def shapes(selector: str) -> set[str]:
        paths = f"[...document.querySelectorAll({json.dumps(selector)})]"
        return {
            re.sub(r"[-\d.]+", "", d) for d in page.run(f"{paths}.map(e => e.getAttribute('d'))")
        }

    for place, name in enumerate(("conventional", "Gabor", "mixed"), 1):
        (shape,) = shapes(f"#switch-groups fieldset:nth-of-type({place}) svg path")
        for part in ("learning-rate", "training"):
            assert shapes(f"#{part} .panels > :nth-child({place}) .mark") == {shape}, name


def test_short_names_and_what_is_shown_are_explained_where_they_first_appear(page: Page) -> None:
    words = page.run("document.getElementById('overview').textContent")
    assert "PCC: loss by Pearson's correlation coefficient" in words
    assert "HD95: 95 % Hausdorff distance" in words
    assert "CCC" not in words
    assert "p < 0.05 over subjects" in words


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
    assert set(column(page, "comparisons", 8)) == {"13"}


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


def test_notes_say_once_what_holds_for_all_columns(page: Page) -> None:
    words = page.run("document.getElementById('structures').innerText")
    assert words.count("13 subjects") == 1
    assert "CVL: cerebellar vermal lobules." in words
    assert "The deeper the shade, the better within the row" in words


def test_charts_among_the_pictures_are_turned_round_where_the_page_is_dark(page: Page) -> None:
    look = "getComputedStyle(document.querySelector('img.drawn')).filter"
    assert page.run(look) == "none"
    page.resize(1280, 900, dark=True)
    page.wait(f"{look}.startsWith('invert(1)')")
    page.resize(1280, 900)


def test_rows_can_be_filtered_by_words(page: Page) -> None:
    page.run(
        """(() => { const box = document.querySelector('[data-search=runs]');
        box.value = 'Gabor pcc'; box.dispatchEvent(new Event('input')); })()"""
    )
    left = "[...document.querySelectorAll('#table-runs tbody tr')].filter(e => e.offsetParent)"
    names = page.run(f"{left}.map(e => e.cells[0].textContent)")
    assert names == ["Gabor · PCC"] * 2


def test_a_wide_table_shows_that_it_goes_on_until_its_end_is_seen(page: Page) -> None:
    page.resize(390, 844)
    frame = "document.querySelector('#table-structures').closest('.wide')"
    more = f"{frame}.classList.contains('more')"
    page.wait(more)
    page.run(f"{frame}.firstChild.scrollTo({{left: 1e5, behavior: 'instant'}})")
    page.wait(f"!{more}")
    page.resize(1280, 900)


def test_what_all_pairs_come_to_is_on_the_screen_of_a_laptop(page: Page) -> None:
    page.resize(1366, 768)
    seen = """[...document.querySelectorAll('#table-comparisons th')].filter(e =>
        e.getBoundingClientRect().right <= e.closest('.scroll').getBoundingClientRect().right)
        .map(e => e.textContent)"""
    assert {"verdict", "p Holm", "p trainings"} <= set(page.run(seen))
    page.resize(1280, 900)


def test_every_table_leads_to_its_files(page: Page, results: Results) -> None:
    links = "[...document.querySelectorAll('.wide a')].map(e => e.getAttribute('href'))"
    found = set(page.run(links))
    assert all(link.startswith("tables/") or link == "study.csv" for link in found)
    written = {table.name for table in all_tables(results)}
    linked = {Path(link).stem for link in found if link.startswith("tables/")}
    assert linked - written == {"kernels_mixed"}
    without = """[...document.querySelectorAll('.wide')]
        .filter(e => ![...e.querySelectorAll('.files *')].some(f => f.textContent === 'csv'))
        .map(e => e.querySelector('table').id)"""
    assert page.run(without) == []


def test_every_figure_is_linked_to_its_files(page: Page) -> None:
    links = page.run("[...document.querySelectorAll('a[href]')].map(e => e.getAttribute('href'))")
    wanted = {f"figures/{name}.{kind}" for name in FIGURES for kind in ("svg", "png")}
    kernels = {f"figures/kernel_layers.{kind}" for kind in ("svg", "png")}
    assert {link for link in links if link.startswith("figures/")} == wanted | kernels


def test_a_dark_page_is_printed_in_dark_letters(page: Page) -> None:
    page.resize(1280, 900, dark=True)
    page.wait("document.documentElement.dataset.theme === 'dark'")
    page.call("Emulation.setEmulatedMedia", media="print")
    try:
        assert page.run("getComputedStyle(document.body).color") == "rgb(22, 32, 43)"
    finally:
        page.resize(1280, 900)


def unspaced(text: str) -> str:
    """Text without what differs between a page and its print: spaces, ligatures, marks of order."""
    return re.sub(r"[\s↑↓]+", "", unicodedata.normalize("NFKC", text))


def test_a_print_holds_every_heading_and_row_of_every_table(page: Page, tmp_path: Path) -> None:
    page.pdf(tmp_path / "page.pdf")
    printed = PdfReader(tmp_path / "page.pdf")
    text = unspaced("".join(sheet.extract_text() for sheet in printed.pages))
    rows = "[...document.querySelectorAll('table tr')].map(e => e.textContent)"
    lost = [row for row in map(unspaced, page.run(rows)) if row not in text]
    assert lost == []
    assert len(printed.pages) <= 25


def light_of(color: list[float]) -> float:
    """The relative luminance of a colour, red, green and blue in [0, 1] (W3C, WCAG 2.2)."""
    levels = np.array(color)
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def light(page: Page, name: str) -> float:
    """The relative luminance of a colour of the style."""
    value = f"getComputedStyle(document.documentElement).getPropertyValue('--{name}')"
    digits = page.run(value).lstrip("#")
    return light_of([int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)])


def ratio(one: float, other: float) -> float:
    """The contrast of two luminances, 1 ... 21."""
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def contrast(page: Page, one: str, other: str) -> float:
    return ratio(light(page, one), light(page, other))


@pytest.mark.parametrize("dark", [False, True])
def test_letters_stand_out_from_their_ground(page: Page, dark: bool) -> None:
    page.resize(1280, 900, dark=dark)
    page.wait(f"document.documentElement.dataset.theme === '{'dark' if dark else 'light'}'")
    grounds = ("card", "ground", "accent-ground")
    letters = [contrast(page, name, on) for name in ("text", "soft", "accent") for on in grounds]
    page.resize(1280, 900)
    assert min(letters) >= 4.5


@pytest.mark.parametrize("dark", [False, True])
def test_the_shades_of_a_table_are_seen_and_its_numbers_can_be_read(page: Page, dark: bool) -> None:
    page.resize(1280, 900, dark=dark)
    page.wait(f"document.documentElement.dataset.theme === '{'dark' if dark else 'light'}'")
    ground = page.run(
        "getComputedStyle([...document.querySelectorAll('#table-structures td')]"
        ".find(e => e.style.getPropertyValue('--share') === '1.000')).backgroundColor"
    )
    deepest = light_of([float(part) for part in re.findall(r"\d*\.\d+", ground)])
    lights = {name: light(page, name) for name in ("card", "text", "soft")}
    page.resize(1280, 900)
    assert ratio(deepest, lights["card"]) >= 1.2
    assert min(ratio(deepest, lights[name]) for name in ("text", "soft")) >= 4.5


@pytest.mark.skipif(find_axe() is None, reason="axe-playwright-python is not installed")
@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing(page: Page, dark: bool) -> None:
    page.resize(1280, 900, dark=dark)
    page.wait(f"document.documentElement.dataset.theme === '{'dark' if dark else 'light'}'")
    try:
        assert violations(page) == []
    finally:
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


def test_the_page_is_never_wider_than_the_screen_nor_a_menu_than_its_card(page: Page) -> None:
    past = """[...document.querySelectorAll('section select')].filter(e =>
        e.getBoundingClientRect().right > e.closest('section').getBoundingClientRect().right)
        .map(e => e.closest('label').textContent)"""
    for width in (2560, 1920, 1366, 768, 375, 360):
        page.resize(width, 900)
        page.wait(f"document.querySelector('.chart svg').clientWidth < {width}")
        assert page.run("document.documentElement.scrollWidth") <= width
        assert page.run(past) == [], width
    page.resize(1280, 900)


CURRENT = "document.querySelector('#contents [aria-current=true]')"


def test_on_a_laptop_the_menu_shows_every_section(page: Page) -> None:
    page.resize(1366, 768)
    outside = """[...document.querySelectorAll('#contents a')].filter(e => {
        const [own, bar] = [e, e.closest('header')].map(found => found.getBoundingClientRect());
        return own.right > bar.right || own.bottom > bar.bottom; }).map(e => e.textContent)"""
    assert page.run(outside) == []
    page.run("document.getElementById('kernels').scrollIntoView({behavior: 'instant'})")
    page.wait(f"{CURRENT}?.textContent === 'Kernels'")
    page.resize(1280, 900)


def test_on_a_phone_the_menu_follows_the_reader(page: Page) -> None:
    page.resize(375, 800)
    page.run("document.getElementById('runs').scrollIntoView({behavior: 'instant'})")
    page.wait(f"{CURRENT}?.textContent === 'Runs'")
    page.wait(
        f"""(() => {{ const own = {CURRENT}.getBoundingClientRect();
        const bar = document.getElementById('contents').getBoundingClientRect();
        return own.left >= bar.left && own.right <= bar.right; }})()"""
    )
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
    assert chromium.run("document.querySelector('.lead').textContent").startswith(
        "1 finished run of 1 configuration, 2 test subjects in 1 split, 2 structures"
    )
    assert column(chromium, "spread", 2) == ["50.0"] * 3
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
