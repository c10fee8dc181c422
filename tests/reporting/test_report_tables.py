from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from gaborseg.reporting.charts import all_charts
from gaborseg.reporting.page.page_data import page_data
from gaborseg.reporting.report import tell
from gaborseg.reporting.report_tables import all_tables
from gaborseg.reporting.run_tables import edge_notes
from gaborseg.reporting.tables import Table
from gaborseg.study import Results, compute
from gaborseg.sweeps import Round, note_round
from synthetic_runs import (
    FEW_STRUCTURES,
    STRUCTURES,
    SUBJECTS,
    split_of,
    study_of,
    write_run,
    write_small_run,
)


def table(results: Results, name: str) -> Table:
    return next(table for table in all_tables(results) if table.name == name)


def test_the_best_rate_is_said_to_be_at_the_edge_of_the_tested_ones(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for loss, values in (("pcc", (0.7, 0.8)), ("dice", (0.9, 0.8))):
        for rate, best in zip((1e-3, 1e-2), values, strict=True):
            folder = write_small_run(tmp_path / f"{loss}{rate}", loss=loss, rate=rate)
            (folder / "metrics.csv").write_text(f"epoch,val/dice\n0,{best}\n")
    results = compute(study_of(tmp_path))
    with caplog.at_level("INFO"):
        tell(results, tmp_path)
    lines = edge_notes(results)
    assert [message for message in caplog.messages if "tested" in message] == lines
    assert lines == [
        "The best learning rate by validation Dice, 10^-2, is the largest tested "
        "for mixed · PCC: try larger ones.",
        "The best learning rate by validation Dice, 10^-3, is the smallest tested "
        "for mixed · Dice: try smaller ones.",
    ]


def column(found: Table, heading: str) -> list[Any]:
    index = [column.heading for column in found.columns].index(heading)
    return [row[index] for row in found.rows]


def write_scored(folder: Path, loss: str, split: int = 0, **changes: Any) -> None:
    """A run with the same Dice and NSD everywhere; volumes follow from the subject's number."""
    tested = split_of(split)["test"]
    numbers = np.array([SUBJECTS.index(subject) for subject in tested], dtype=float)
    truth = np.stack([100 + numbers, 200 + numbers], axis=1)
    share = np.full(truth.shape, 0.5 if loss == "pcc" else 0.6)
    scores = {"dice": share, "nsd": share, "volume": 0.9 * truth, "true_volume": truth}
    options = {"loss": loss, "split": split, "structures": FEW_STRUCTURES, **changes}
    write_run(folder / f"{loss}{split}", scores, **options)


def test_true_volumes_are_of_the_cases_that_were_predicted(tmp_path: Path) -> None:
    for split in (0, 1):
        write_scored(tmp_path, "pcc", split)
    found = table(compute(study_of(tmp_path)), "volumes")
    truth, predicted = column(found, "truth [mm3]"), column(found, "mixed · PCC [mm3]")
    assert predicted == pytest.approx([0.9 * volume for volume in truth])


def test_configurations_of_other_cases_have_true_volumes_of_their_own(tmp_path: Path) -> None:
    for loss, split in (("pcc", 0), ("pcc", 1), ("dice", 0)):
        write_scored(tmp_path, loss, split)
    found = table(compute(study_of(tmp_path)), "volumes")
    for label in ("mixed · PCC", "mixed · Dice"):
        truth, predicted = (column(found, f"{label} [mm3{end}]") for end in (", truth", ""))
        assert predicted == pytest.approx([0.9 * volume for volume in truth])
    assert column(found, "mixed · PCC [mm3, truth]") != column(found, "mixed · Dice [mm3, truth]")


def test_labels_in_notes_keep_their_capitals(tmp_path: Path) -> None:
    for loss, rate in (("pcc", 1e-2), ("dice", 1e-4)):
        write_scored(tmp_path, loss, rate=rate)
    assert "mixed · PCC 10^-2" in table(compute(study_of(tmp_path)), "volumes").note


def test_the_tolerance_of_nsd_is_told(tmp_path: Path) -> None:
    for loss in ("pcc", "dice"):
        write_scored(tmp_path, loss, outcome={"nsd_tolerance": 1.625})
    results = compute(study_of(tmp_path))
    for name in ("structures_nsd", "comparisons_nsd"):
        assert "Tolerance: 1.625 mm." in table(results, name).note
    assert "mm" not in table(results, "structures_dice").note


def test_nsd_of_two_tolerances_has_no_best(tmp_path: Path) -> None:
    for loss, tolerance in (("pcc", 4.0), ("dice", 1.625)):
        write_scored(tmp_path, loss, outcome={"nsd_tolerance": tolerance})
    results = compute(study_of(tmp_path))
    found = table(results, "structures_nsd")
    assert "must not be compared: 4 mm (mixed · PCC); 1.625 mm (mixed · Dice)." in found.note
    assert not found.best
    assert table(results, "structures_dice").best
    page = {metric["name"]: metric["better"] for metric in page_data(results, [])["metrics"]}
    assert (page["dice"], page["nsd"]) == (1, 0)


@pytest.mark.parametrize(("structures", "average"), [(STRUCTURES, True), (STRUCTURES[:5], False)])
def test_the_papers_average_stands_beside_all_of_its_structures_alone(
    tmp_path: Path, structures: list[str], average: bool
) -> None:
    dice = np.full((len(split_of(0)["test"]), len(structures)), 0.5)
    write_run(tmp_path / "run", {"dice": dice}, structures=structures)
    results = compute(study_of(tmp_path))
    *theirs, last = column(table(results, "paper"), "mixed · PCC, paper")
    assert None not in theirs
    assert (last is not None) == average
    assert (page_data(results, [])["paper"]["mixed-pcc"][-1] is not None) == average


def test_tables_of_rates_say_from_how_many_subjects_and_replicates(tmp_path: Path) -> None:
    for split, rate in ((0, 1e-2), (1, 1e-2), (0, 1e-3), (1, 1e-3), (2, 1e-3)):
        write_scored(tmp_path / str(rate), "pcc", split, rate=rate)
    results = compute(study_of(tmp_path))
    tested = [len({s for split in range(n) for s in split_of(split)["test"]}) for n in (3, 2)]
    rates = table(results, "learning_rate")
    assert (column(rates, "subjects"), column(rates, "replicates")) == (tested, [3, 2])
    robust = table(results, "robustness")
    assert (column(robust, "subjects"), column(robust, "replicates")) == ([tested[1]], [2])


def test_areas_over_other_replicates_have_no_best(tmp_path: Path) -> None:
    for loss, splits in (("pcc", (0, 1)), ("dice", (0,))):
        for split in splits:
            for rate in (1e-2, 1e-3):
                write_scored(tmp_path / str(rate), loss, split, rate=rate)
    robust = table(compute(study_of(tmp_path)), "robustness")
    assert not robust.best
    assert "these areas must not be compared" in robust.note


def test_the_legend_of_the_learning_rates_counts_the_runs_behind_each_point(
    tmp_path: Path,
) -> None:
    for rate, splits in ((1e-2, 2), (1e-3, 3)):
        for split in range(splits):
            write_scored(tmp_path / str(rate), "pcc", split, rate=rate)
    chart = dict(all_charts(compute(study_of(tmp_path))))["learning_rate"]
    legend = chart.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.texts] == ["PCC (2-3)"]


def test_the_legend_of_the_cost_names_a_run_that_was_not_timed(tmp_path: Path) -> None:
    write_small_run(tmp_path / "mixed", outcome={"seconds_per_step": None})
    write_small_run(tmp_path / "vnet", kernel="vnet")
    chart = dict(all_charts(compute(study_of(tmp_path))))["cost"]
    assert [text.get_text() for text in chart.legends[0].texts] == ["mixed · PCC", "V-Net · PCC"]


@pytest.mark.parametrize("devices", [("CPU", "CPU"), ("CPU", "GPU")])
def test_times_are_drawn_if_they_are_all_of_one_device(
    tmp_path: Path, devices: tuple[str, str]
) -> None:
    for loss, device in zip(("pcc", "dice"), devices, strict=True):
        write_small_run(tmp_path / loss, loss=loss, outcome={"device": device})
    results = compute(study_of(tmp_path))
    titles = [axes.get_xlabel() for axes in dict(all_charts(results))["cost"].axes]
    costs = page_data(results, [])["costs"]
    if devices == ("CPU", "CPU"):
        assert titles == ["trained parameters", "time a step [s], CPU"]
        assert [(cost["seconds"], cost["device"]) for cost in costs] == [(0.5, "CPU")] * 2
    else:
        assert titles == ["trained parameters"]
        assert [cost["seconds"] for cost in costs] == [None] * 2


@pytest.mark.parametrize("losses", [("pcc",), ("pcc", "dice")])
def test_colours_tell_the_loss_and_the_kernel_if_there_is_one_loss(
    tmp_path: Path, losses: tuple[str, ...]
) -> None:
    for loss in losses:
        for kernel in ("mixed", "gabor"):
            write_small_run(tmp_path / f"{kernel}{loss}", loss=loss, kernel=kernel)
    drawn = page_data(compute(study_of(tmp_path)), [])["configurations"]
    colors = {c["id"]: c["color"] for c in drawn}
    same = [colors[f"mixed-{loss}"] == colors[f"gabor-{loss}"] for loss in losses]
    assert same == [len(losses) == 2] * len(losses)
    assert len(set(colors.values())) == 2


def test_a_search_is_shown_by_its_validation_those_that_went_farthest_first(tmp_path: Path) -> None:
    for loss in ("dice", "pcc"):
        write_scored(tmp_path, loss)
    values = {tmp_path / "dice0": 0.25, tmp_path / "pcc0": 0.5}
    note_round(tmp_path, Round("val/dice", "maximize", 4, values))
    note_round(tmp_path, Round("val/dice", "maximize", None, {tmp_path / "pcc0": 0.75}))
    found = table(compute(study_of(tmp_path)), "search")
    assert found.rows == (("pcc0", "val/dice", 0.5, 0.75), ("dice0", "val/dice", 0.25, None))
    assert [c.heading for c in found.columns[2:]] == ["after epoch 4", "at the end"]


def test_a_sweep_that_compares_nothing_has_no_search(tmp_path: Path) -> None:
    write_scored(tmp_path, "pcc")
    assert "search" not in [table.name for table in all_tables(compute(study_of(tmp_path)))]


def test_the_leaderboard_has_the_highest_dice_first_and_marks_the_best(tmp_path: Path) -> None:
    for loss, dice, distance in (("pcc", 0.6, 3.0), ("dice", 0.7, 4.0)):
        scores = {"dice": np.full((13, 2), dice), "hd95": np.full((13, 2), distance)}
        scores["dice"][0] = dice - 0.2
        write_run(tmp_path / loss, scores, loss=loss, structures=FEW_STRUCTURES)
    found = table(compute(study_of(tmp_path)), "leaderboard")
    assert column(found, "configuration") == ["mixed · Dice", "mixed · PCC"]
    assert column(found, "Dice of the worst subject") == pytest.approx([0.5, 0.4])
    assert column(found, "parameters") == [1_598_900] * 2
    assert found.best == {(0, 2), (1, 3)}


def test_the_interval_of_the_leaderboard_resamples_subjects(tmp_path: Path) -> None:
    by_subject = np.linspace(0.5, 0.9, 13)
    scores = {"dice": np.column_stack([by_subject - 0.1, by_subject + 0.1])}
    write_run(tmp_path / "one", scores, structures=FEW_STRUCTURES)
    found = table(compute(study_of(tmp_path)), "leaderboard")
    draws = np.random.default_rng(9).choice(by_subject, (20_000, 13)).mean(axis=1)
    tail = stats.norm.cdf(-np.sqrt(13 / 12) * stats.t.ppf(0.975, 12))
    low, high = np.quantile(draws, [tail, 1 - tail])
    assert column(found, "Dice, 95 % from") == pytest.approx([low], abs=0.005)
    assert column(found, "to") == pytest.approx([high], abs=0.005)


def test_a_leaderboard_without_any_score_has_no_best(tmp_path: Path) -> None:
    for loss in ("pcc", "dice"):
        write_small_run(tmp_path / loss, dice=float("nan"), loss=loss)
    found = table(compute(study_of(tmp_path)), "leaderboard")
    assert found.best == frozenset()
    assert np.isnan(column(found, "Dice of the worst subject")).all()


def test_energy_is_a_column_where_it_was_measured(tmp_path: Path) -> None:
    energy = {"energy_joules": 7200.0, "energy_of": "processors"}
    write_small_run(tmp_path / "mixed", outcome=energy)
    write_small_run(tmp_path / "gabor", kernel="gabor")
    results = compute(study_of(tmp_path))
    for name in ("leaderboard", "cost"):
        found = table(results, name)
        place = [one.heading for one in found.columns].index("energy of a run [Wh]")
        shown = {row[0]: found.cell(i, place) for i, row in enumerate(found.rows)}
        assert shown == {"mixed · PCC": "2.00", "Gabor · PCC": "-"}
        assert "of processors, with all that ran beside." in found.note


def test_without_a_measured_energy_there_is_no_column(tmp_path: Path) -> None:
    write_small_run(tmp_path / "mixed")
    found = table(compute(study_of(tmp_path)), "leaderboard")
    assert not any("energy" in one.heading for one in found.columns)
