"""The page's sections on single subjects, in a browser: scores, viewer, confusions, address."""

import csv
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from axe import find_axe, violations
from browser import Page
from gaborseg.pictures import viewer_book, viewer_case, viewer_page
from gaborseg.reporting.page.page import make_page
from gaborseg.reporting.report_tables import all_tables
from gaborseg.reporting.subjects.confusion import confusion_tables, confusions
from gaborseg.reporting.subjects.viewer import viewer_subjects
from gaborseg.study import compute
from synthetic_runs import FEW_STRUCTURES, split_of, study_of, write_run
from tiny_cohort import write_nifti

pytestmark = pytest.mark.slow

READY = "document.documentElement.dataset.ready"
SUBJECTS = tuple("abcdefghijklmnopqrst")
TESTED = split_of(0, SUBJECTS)["test"]
DICE = {
    "pcc": np.linspace(0.9, 0.6, len(TESTED)),
    "dice": np.linspace(0.86, 0.62, len(TESTED)),
}
SIDE = 12


def truth_map() -> np.ndarray:
    label = np.zeros((SIDE,) * 3, np.uint8)
    label[2:8, 2:9, 3:6], label[2:8, 2:9, 6:10] = 1, 2
    return label


def predicted() -> np.ndarray:
    return np.roll(truth_map(), 1, axis=2)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two configurations with label maps of every test subject, whose ages are known."""
    folder = tmp_path_factory.mktemp("subjects")
    for loss, dice in DICE.items():
        scores = {
            "dice": np.column_stack([dice, dice - 0.1]),
            "hd95": np.column_stack([3 - dice, 4 - dice]),
        }
        run = write_run(
            folder / "runs" / loss,
            scores,
            loss=loss,
            structures=FEW_STRUCTURES,
            subjects=SUBJECTS,
            data={"root": str(folder / "data")},
        )
        for subject in TESTED:
            stem = f"{folder}/data/{subject}/anat/{subject}"
            write_nifti(Path(f"{stem}_T1w.nii.gz"), 50 * truth_map().astype(np.float32))
            write_nifti(Path(f"{stem}_dseg.nii.gz"), truth_map())
            write_nifti(run / f"predictions/{subject}.nii.gz", predicted())
    rows = [f"{name}\t{30 + i}\t{'fm'[i % 2]}" for i, name in enumerate(TESTED)]
    lines = ["participant_id\tage\tsex", *rows, ""]
    (folder / "data/participants.tsv").write_text("\n".join(lines))
    results = compute(study_of(folder / "runs"))
    found = confusions(results)
    tables = [*all_tables(results), *confusion_tables(results, found)]
    book = viewer_subjects(results, "all")
    page = make_page(results, tables, title="Subjects", confused=found, book=book)
    (folder / "index.html").write_text(page, encoding="utf-8")
    return folder / "index.html"


@pytest.fixture
def page(chromium: Page, report: Path) -> Page:
    chromium.errors.clear()
    chromium.requests.clear()
    chromium.open(report, READY)
    return chromium


def column(page: Page, table: str, number: int) -> list[str]:
    cells = f"#table-{table} tbody tr > :nth-child({number})"
    return page.run(f"[...document.querySelectorAll({json.dumps(cells)})].map(e => e.textContent)")


def choose(page: Page, section: str, label: str, value: str) -> None:
    page.run(
        f"""(() => {{ const found = [...document.querySelectorAll('#{section} label')]
        .find(e => e.textContent.startsWith({json.dumps(label)})).querySelector('select');
        found.value = {json.dumps(value)}; found.dispatchEvent(new Event('change')); }})()"""
    )


def text(page: Page, selector: str) -> str:
    return page.run(f"document.querySelector({json.dumps(selector)}).textContent")


def test_every_subject_is_a_dot_of_every_configuration(page: Page) -> None:
    assert page.run("document.querySelectorAll('#subjects .mark').length") == 2 * len(TESTED)
    tips = page.run("[...document.querySelectorAll('#subjects .mark')].map(e => e.dataset.tip)")
    assert any(tip.startswith(f"{TESTED[-1]}, mixed · PCC\naverage: 55.00 %") for tip in tips)


def test_the_worst_subject_comes_first_with_its_structures_and_its_age(page: Page) -> None:
    choose(page, "subjects", "configuration", "mixed-pcc")
    assert column(page, "subjects", 1) == TESTED[::-1]
    cells = "[...document.querySelector('#table-subjects tbody tr').cells]"
    first = page.run(f"{cells}.map(e => e.textContent)")
    age = str(30 + len(TESTED) - 1)
    assert first[1:5] == ["55.0", "60.0", "50.0", age]


def test_of_a_distance_the_largest_is_the_worst(page: Page) -> None:
    page.run("document.querySelector('#subjects [data-id=hd95]').click()")
    values = [float(cell) for cell in column(page, "subjects", 2)]
    assert values == sorted(values, reverse=True)


def test_two_configurations_are_set_against_each_other_subject_by_subject(page: Page) -> None:
    choose(page, "subjects", "configuration", "mixed-pcc")
    choose(page, "subjects", "against", "mixed-dice")
    gaps = DICE["pcc"] - DICE["dice"]
    shown = [float(cell.replace("\N{MINUS SIGN}", "-")) for cell in column(page, "duel", 4)]
    assert shown == pytest.approx(sorted(100 * gaps), abs=0.0051)
    won, lost = int((gaps > 1e-9).sum()), int((gaps < -1e-9).sum())
    words = (
        f"mixed · PCC is better in {won} of {len(gaps)} subjects, mixed · Dice in {lost} (dashed"
    )
    assert words in text(page, "#subjects")


def test_each_subject_has_a_line_from_one_configuration_to_the_other(page: Page) -> None:
    choose(page, "subjects", "against", "mixed-dice")
    chart = "[...document.querySelectorAll('#subjects .chart')][1]"
    page.wait(f"{chart}.querySelectorAll('path[fill=none]').length === {len(TESTED)}")
    dashed = page.run(f"{chart}.querySelectorAll('path[fill=none][stroke-dasharray]').length")
    assert dashed == int((DICE["pcc"] < DICE["dice"]).sum())


def saved(page: Page, label: str) -> str:
    """The text of the file that a button saves."""
    page.run(
        "void (URL.createObjectURL = blob => { window.got = blob; return 'about:blank'; },"
        "HTMLAnchorElement.prototype.click = () => {})"
    )
    page.run(f"document.querySelector('[aria-label=\"{label}\"]').click()")
    return page.run("window.got.text()")


def test_a_chart_without_a_file_can_be_saved_as_it_is(page: Page) -> None:
    drawing = ElementTree.fromstring(saved(page, "figure scores of the subjects as svg"))
    fills = [e.get("fill") for e in drawing.iter() if "mark" in (e.get("class") or "")]
    assert len(fills) == 2 * len(TESTED)
    assert not any(fill is None or "var(" in fill for fill in fills)


def test_a_table_without_a_file_can_be_saved_as_csv(page: Page) -> None:
    first, *rows = csv.reader(saved(page, "table spread as csv").splitlines())
    assert first[:3] == ["structure", "mean [%]", "std [%]"]
    assert [row[1] for row in rows] == column(page, "spread", 2)


def test_a_table_without_a_file_can_be_saved_for_latex(page: Page) -> None:
    choose(page, "subjects", "configuration", "mixed-pcc")
    begin, top, head, *_, bottom, end = saved(page, "table spread as tex").splitlines()
    assert (begin, end) == (r"\begin{tabular}{lrrrrrr}", r"\end{tabular}")
    assert (top, bottom) == (r"\toprule", r"\bottomrule")
    assert head.startswith(r"structure & mean [\%] & std [\%] & ")
    assert head.endswith(r" \\")


def test_a_chart_without_a_file_can_be_saved_as_pixels(page: Page) -> None:
    saved(page, "figure scores of the subjects as svg")
    page.run(
        "document.querySelector('[aria-label=\"figure scores of the subjects as png\"]').click()"
    )
    page.wait("window.got.type === 'image/png'")
    size = page.run("createImageBitmap(window.got).then(found => [found.width, found.height])")
    box = "document.querySelector('#subjects .chart svg').viewBox.baseVal"
    drawn = page.run(f"[{box}.width, {box}.height]")
    assert size == pytest.approx([3 * length for length in drawn], abs=3)


def test_averages_say_whether_they_are_of_all_structures_or_of_the_selected(page: Page) -> None:
    whole = "These numbers are of all 2 structures, whatever is selected."
    assert whole not in text(page, "main")
    page.run("document.querySelector('[data-switch=\"1\"]').click()")
    assert whole in text(page, "#overview")
    assert whole in text(page, "#leaderboard")
    assert column(page, "spread", 1) == [FEW_STRUCTURES[0], "average of the 1 selected"]


def test_a_link_from_a_disk_is_what_helps_others(page: Page) -> None:
    board = "{value: {writeText: text => { window.got = text; }}}"
    page.run(f"void Object.defineProperty(navigator, 'clipboard', {board})")
    page.run("document.querySelector('#structures [data-id=hd95]').click()")
    page.run("document.getElementById('copy-link').click()")
    page.wait("document.getElementById('tip').hidden === false")
    assert re.fullmatch(r"#\S*\?metric=hd95\S*", page.run("window.got"))
    assert "Others need this file too" in text(page, "#tip")


def test_subjects_can_be_chosen_and_drawn_by_what_is_known_of_them(page: Page) -> None:
    choose(page, "subjects", "only", "sex=m")
    assert sorted(column(page, "subjects", 1)) == sorted(TESTED[1::2])
    choose(page, "subjects", "along", "age")
    facts = "[...document.querySelectorAll('#subjects .chart')].at(-1)"
    assert page.run(f"{facts}.querySelectorAll('.mark').length") == len(TESTED[1::2])
    assert "age" in page.run(f"{facts}.textContent")


def test_mean_and_std_over_subjects_are_those_of_numpy(page: Page) -> None:
    choose(page, "subjects", "configuration", "mixed-pcc")
    mean, std = 100 * DICE["pcc"].mean(), 100 * DICE["pcc"].std(ddof=1)
    assert column(page, "spread", 2)[0] == f"{mean:.1f}"
    assert column(page, "spread", 3)[0] == f"{std:.1f}"
    assert column(page, "spread", 5)[0] == f"{100 * DICE['pcc'][-1]:.1f} ({TESTED[-1]})"


def open_viewer(page: Page) -> None:
    page.run("document.getElementById('viewer').scrollIntoView({behavior: 'instant'})")
    page.wait("document.querySelector('.viewer-slice canvas') !== null")


def readout(page: Page) -> str:
    return text(page, ".viewer-readout")


NAMES = ["background", *FEW_STRUCTURES]


def test_the_viewer_says_what_truth_and_models_have_at_the_cross(page: Page) -> None:
    open_viewer(page)
    found = re.match(r"voxel (\d+), (\d+), (\d+) · grey (\d+)", readout(page))
    assert found is not None
    at = tuple(int(number) for number in found.groups()[:3])
    assert f"truth: {NAMES[truth_map()[at]]}" in readout(page)
    assert f"mixed · PCC: {NAMES[predicted()[at]]}" in readout(page)
    assert page.errors == []
    assert [url for url in page.requests if url.startswith("http")] == []


def test_wheel_keys_and_slider_scroll_all_maps_at_once(page: Page) -> None:
    open_viewer(page)
    slices = "[...document.querySelectorAll('canvas[data-plane=axial]')].map(e => e.ariaValueNow)"
    start = int(page.run(slices)[0])
    page.run(
        "document.querySelector('canvas[data-plane=axial]')"
        ".dispatchEvent(new WheelEvent('wheel', {deltaY: 50, cancelable: true}))"
    )
    assert page.run(slices) == [str(start - 1)] * 3
    page.run("document.querySelector('canvas[data-plane=axial]').focus()")
    page.press("ArrowUp")
    page.press("ArrowUp")
    assert page.run(slices) == [str(start + 1)] * 3
    page.run(
        "(() => { const s = document.querySelector('.viewer-sliders [data-plane=axial]');"
        "s.value = 0; s.dispatchEvent(new Event('input')); })()"
    )
    assert page.run(slices) == ["0"] * 3


def pixels(page: Page, position: int) -> np.ndarray:
    """The pixels of a slice as they lie in the volume, (X, Y, 3)."""
    canvas = f"document.querySelectorAll('canvas[data-plane=axial]')[{position}]"
    data = f"getContext('2d').getImageData(0, 0, {SIDE}, {SIDE}).data"
    values = page.run(f"[...{canvas}.{data}]")
    return np.array(values).reshape(SIDE, SIDE, 4)[::-1, :, :3].transpose(1, 0, 2)


def test_mistakes_are_drawn_where_prediction_and_truth_differ(page: Page) -> None:
    open_viewer(page)
    choose(page, "viewer", "show", "difference")
    page.run(
        "(() => { const s = document.querySelector('[data-choice=opacity] input');"
        "s.value = 1; s.dispatchEvent(new Event('input')); })()"
    )
    z = int(page.run("document.querySelector('canvas[data-plane=axial]').ariaValueNow"))
    truth, own = truth_map()[:, :, z], predicted()[:, :, z]
    colored = np.ptp(pixels(page, 1), axis=2) > 0
    np.testing.assert_array_equal(colored, truth != own)
    assert not (np.ptp(pixels(page, 0), axis=2) > 0).any()


def scroll_to(page: Page, z: int) -> None:
    page.run(
        "(() => { const s = document.querySelector('.viewer-sliders [data-plane=axial]');"
        f"s.value = {z}; s.dispatchEvent(new Event('input')); }})()"
    )


@pytest.mark.parametrize(("z", "words"), [(6, "another structure"), (10, "too much"), (3, None)])
def test_mistakes_of_one_structure_have_the_colours_of_the_legend(
    page: Page, z: int, words: str | None
) -> None:
    open_viewer(page)
    choose(page, "viewer", "show", "difference")
    choose(page, "viewer", "structure", "2")
    page.run(
        "(() => { const s = document.querySelector('[data-choice=opacity] input');"
        "s.value = 1; s.dispatchEvent(new Event('input')); })()"
    )
    scroll_to(page, z)
    wrong = (truth_map() != predicted()) & ((truth_map() == 2) | (predicted() == 2))
    shown = pixels(page, 1)
    np.testing.assert_array_equal(np.ptp(shown, axis=2) > 0, wrong[:, :, z])
    legend = page.run(
        "Object.fromEntries([...document.querySelectorAll('.viewer-key span')]"
        ".map(e => [e.textContent, e.firstChild.style.backgroundColor]))"
    )
    colors = {tuple(map(int, color)) for color in shown[wrong[:, :, z]].tolist()}
    told = {tuple(map(int, re.findall(r"\d+", legend[words])))} if words else set()
    assert colors == told


@pytest.mark.parametrize(("structure", "place"), [(1, "4, 5, 4"), (2, "4, 5, 8")])
def test_the_cross_goes_to_the_structure_that_is_chosen(
    page: Page, structure: int, place: str
) -> None:
    open_viewer(page)
    choose(page, "viewer", "structure", str(structure))
    assert readout(page).startswith(f"voxel {place} ")
    assert f"truth: {NAMES[structure]}" in readout(page)


def test_menus_of_the_viewer_have_different_names(page: Page) -> None:
    open_viewer(page)
    names = page.run(
        "[...document.querySelectorAll('.viewer-bar label')].map(e => e.dataset.choice)"
    )
    assert {"1st map", "2nd map", "3rd map"} <= set(names)
    assert len(set(names)) == len(names)


def test_one_structure_can_be_shown_alone(page: Page) -> None:
    open_viewer(page)
    choose(page, "viewer", "structure", "2")
    z = int(page.run("document.querySelector('canvas[data-plane=axial]').ariaValueNow"))
    colored = np.ptp(pixels(page, 0), axis=2) > 0
    np.testing.assert_array_equal(colored, truth_map()[:, :, z] == 2)


def test_grey_levels_are_spread_between_the_chosen_black_and_white(page: Page) -> None:
    open_viewer(page)
    choose(page, "viewer", "structure", "1")
    for name, value in (("opacity", 0), ("black", 100), ("white", 200)):
        page.run(
            f"(() => {{ const s = document.querySelector('[data-choice={name}] input');"
            f"s.value = {value}; s.dispatchEvent(new Event('input')); }})()"
        )
    z = int(page.run("document.querySelector('canvas[data-plane=axial]').ariaValueNow"))
    grey = np.rint(127.5 * truth_map()[:, :, z])
    expected = (255 * (grey - 100) / 100).clip(0, 255)
    np.testing.assert_allclose(pixels(page, 0)[..., 0], expected, atol=3)


def test_surfaces_of_all_maps_are_drawn_and_turn_together(page: Page) -> None:
    open_viewer(page)
    choose(page, "viewer", "view", "surface")
    canvases = "[...document.querySelectorAll('.viewer-slice canvas')]"
    pictures = f"{canvases}.map(canvas => canvas.toDataURL())"
    before = page.run(pictures)
    assert len(before) == 3
    empty = "Object.assign(document.createElement('canvas'), {width: 420, height: 420})"
    assert page.run(f"{empty}.toDataURL()") not in before
    page.run("document.querySelector('.viewer-slice canvas').focus()")
    page.press("ArrowRight")
    assert all(new != old for new, old in zip(page.run(pictures), before, strict=True))
    assert page.errors == []


def test_a_subject_of_the_table_opens_in_the_viewer(page: Page) -> None:
    page.run("document.querySelector('#table-subjects tbody button').click()")
    name = column(page, "subjects", 1)[0]
    page.wait(f"document.querySelector('[data-choice=subject] select')?.value === '{name}'")


def test_the_matrix_of_confusions_has_rows_of_true_structures(page: Page) -> None:
    rows = page.run(
        "[...document.querySelectorAll('#table-confusion tbody tr')]"
        ".map(row => [...row.cells].map(cell => cell.textContent))"
    )
    assert [row[0] for row in rows] == NAMES
    both = np.array([(truth_map() == 1) & (predicted() == k) for k in range(3)]).sum(axis=(1, 2, 3))
    expected = 100 * both / (truth_map() == 1).sum()
    assert [float(cell or 0) for cell in rows[1][1:]] == pytest.approx(expected, abs=0.051)


def test_the_leaderboard_begins_with_the_highest_dice(page: Page) -> None:
    labels = {"mixed · PCC": "pcc", "mixed · Dice": "dice"}
    means = {label: 100 * (DICE[loss].mean() - 0.05) for label, loss in labels.items()}
    order = sorted(means, key=lambda name: -means[name])
    assert column(page, "leaderboard", 1) == order
    assert column(page, "leaderboard", 3) == [f"{means[name]:.1f}" for name in order]


def go_to(page: Page, address: str) -> None:
    page.call("Page.navigate", url="about:blank")
    page.call("Page.navigate", url=address)
    page.wait(f"document.readyState === 'complete' && {READY} === 'true'")


def test_what_was_chosen_stands_in_the_address_and_comes_back(page: Page, report: Path) -> None:
    choose(page, "subjects", "against", "mixed-dice")
    page.run("document.querySelector('#structures [data-id=hd95]').click()")
    page.run("document.querySelector('[data-switch=\"1\"]').click()")
    page.run("document.querySelector('[data-sort=\"subjects/2\"]').click()")
    page.wait("location.hash.includes('hidden=1') && location.hash.includes('sorts')")
    address = page.run("location.href")
    before = page.run("document.getElementById('sections').innerText")
    page.open(report, READY)
    assert page.run("document.getElementById('sections').innerText") != before
    go_to(page, address)
    assert page.run("document.getElementById('sections').innerText") == before
    assert page.errors == []


def test_section_and_theme_stand_in_the_address(page: Page, report: Path) -> None:
    go_to(page, f"{report.absolute().as_uri()}#training?theme=dark")
    assert page.run("document.documentElement.dataset.theme") == "dark"
    page.wait("document.getElementById('training').getBoundingClientRect().top < 100")
    page.wait("document.querySelector('#contents [aria-current=true]').hash === '#training'")


def test_an_address_with_nonsense_opens_the_whole_page(page: Page, report: Path) -> None:
    nonsense = "#nowhere?metric=x&structure=99&sorts=%7B&reference=y&smooth=z&hidden=77&viewer=3"
    go_to(page, report.absolute().as_uri() + nonsense)
    assert page.errors == []
    assert column(page, "structures", 1) == [*FEW_STRUCTURES, "average"]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_curves_answer_to_the_pointer_everywhere(page: Page, share: float) -> None:
    chart = "document.querySelector('#training .chart svg')"
    page.run(f"{chart}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
    box = page.run(f"{chart}.getBoundingClientRect().toJSON()")
    where = {"x": box["x"] + share * box["width"], "y": box["y"] + share * box["height"]}
    page.call("Input.dispatchMouseEvent", type="mouseMoved", **where)
    page.wait("document.getElementById('tip').hidden === false")
    assert re.search(r"split 0, seed 0\nepoch \d+, [\d.]+ minutes: [\d.]+", text(page, "#tip"))


def test_any_column_of_the_curves_can_be_drawn_on_any_axis(page: Page) -> None:
    path = "document.querySelector('#training .curve').getAttribute('d')"
    page.wait("document.querySelector('#training .curve') !== null")
    drawn = [page.run(path)]
    for label, value in (("column", "train/loss"), ("along", "minutes"), ("smoothed", "9")):
        choose(page, "training", label, value)
        drawn.append(page.run(path))
    page.run("document.querySelector('#training input[type=checkbox]').click()")
    drawn.append(page.run(path))
    assert len(set(drawn)) == 5
    assert not any("NaN" in found for found in drawn)


@pytest.mark.parametrize("told", ["split", "seed"])
def test_colours_of_the_curves_can_tell_splits_and_seeds(page: Page, told: str) -> None:
    assert "PCC" in text(page, "#training .legend")
    choose(page, "training", "colours tell", told)
    assert text(page, "#training .legend") == f"{told} 0"


def test_columns_of_the_structures_are_ordered_by_a_row(page: Page) -> None:
    page.run("document.querySelector('[data-order=\"-1\"]').click()")
    cells = "[...document.querySelector('#table-structures tr.average').cells].slice(1)"
    values = [float(cell) for cell in page.run(f"{cells}.map(e => e.textContent)")]
    assert values == sorted(values, reverse=True)


def test_printing_shows_whole_tables(page: Page) -> None:
    page.resize(1047, 700)
    page.call("Emulation.setEmulatedMedia", media="print")
    wide = """[...document.querySelectorAll('.scroll')]
        .filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.ariaLabel)"""
    try:
        assert page.run(wide) == []
        assert page.run("document.documentElement.scrollWidth") <= 1047
    finally:
        page.call("Emulation.setEmulatedMedia", media="")
        page.resize(1280, 900)


@pytest.mark.parametrize("width", [390, 1366, 2560])
@pytest.mark.parametrize("dark", [False, True])
def test_every_section_fits_the_screen(page: Page, width: int, dark: bool) -> None:
    page.resize(width, 900, dark=dark)
    open_viewer(page)
    assert page.run("document.documentElement.scrollWidth") <= width
    assert page.errors == []
    page.resize(1280, 900)


def test_escape_closes_the_selection_and_gives_the_focus_back(page: Page) -> None:
    page.resize(390, 844)
    page.wait("getComputedStyle(document.getElementById('switches')).visibility === 'hidden'")
    page.run("document.getElementById('open-switches').click()")
    page.press("Escape")
    assert page.run("document.activeElement.id") == "open-switches"
    page.resize(1280, 900)


def test_a_table_can_be_copied_as_lines_with_tabs(page: Page) -> None:
    board = "{value: {writeText: text => { window.got = text; }}}"
    page.run(f"void Object.defineProperty(navigator, 'clipboard', {board})")
    page.run("document.querySelector('[aria-label=\"copy table leaderboard\"]').click()")
    lines = page.run("window.got").splitlines()
    assert lines[0].split("\t")[0] == "configuration"
    assert [line.split("\t")[0] for line in lines[1:]] == column(page, "leaderboard", 1)


def test_the_cross_goes_to_what_was_predicted_where_the_truth_lacks_it(
    chromium: Page, tmp_path: Path
) -> None:
    labels = {"truth": truth_map(), "model": np.where(truth_map() == 2, 3, 0).astype(np.uint8)}
    case = viewer_case("scan", 50.0 * truth_map(), labels, np.eye(4), truth="truth")
    book = viewer_book((*FEW_STRUCTURES, "invented", "absent"), [case])
    path = tmp_path / "viewer.html"
    path.write_text(viewer_page("scan", book), encoding="utf-8")
    chromium.open(path, READY)
    choose(chromium, "viewer", "structure", "3")
    assert readout(chromium).startswith("voxel 4, 5, 8 ")
    choose(chromium, "viewer", "structure", "4")
    assert readout(chromium).startswith("absent is in none of these maps · voxel 4, 5, 8 ")


def test_a_viewer_is_a_page_of_its_own_too(chromium: Page, tmp_path: Path) -> None:
    labels = {"segmentation": truth_map()}
    case = viewer_case("scan", 50.0 * truth_map(), labels, np.diag([2.0, 2, 2, 1]))
    path = tmp_path / "viewer.html"
    path.write_text(viewer_page("scan", viewer_book(FEW_STRUCTURES, [case])), encoding="utf-8")
    chromium.errors.clear()
    chromium.requests.clear()
    chromium.open(path, READY)
    found = re.match(r"voxel (\d+), (\d+), (\d+) ", readout(chromium))
    assert found is not None
    at = tuple(int(number) for number in found.groups())
    assert f"segmentation: {NAMES[truth_map()[at]]}" in readout(chromium)
    assert (chromium.errors, chromium.requests) == ([], [path.absolute().as_uri()])


@pytest.mark.skipif(find_axe() is None, reason="axe-playwright-python is not installed")
@pytest.mark.parametrize(("view", "dark"), [("three", False), ("surface", True)])
def test_axe_finds_nothing(page: Page, view: str, dark: bool) -> None:
    page.resize(1280, 900, dark=dark)
    open_viewer(page)
    choose(page, "viewer", "view", view)
    choose(page, "subjects", "against", "mixed-dice")
    choose(page, "subjects", "along", "age")
    try:
        assert violations(page) == []
    finally:
        page.resize(1280, 900)


def test_no_level_of_headings_is_left_out(page: Page) -> None:
    levels = page.run(
        "[...document.querySelectorAll('main :is(h1, h2, h3)')].map(e => Number(e.tagName[1]))"
    )
    assert levels[0] == 1
    assert max(np.diff(levels)) <= 1
