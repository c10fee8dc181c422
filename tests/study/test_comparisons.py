from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gaborseg.study import SHOWN, Comparison, compute
from gaborseg.study.comparisons import (
    NETWORKS,
    NOT_SHOWN,
    TOO_FEW,
    bootstrap_interval,
    cohens_dz,
    compare_all,
    interval_of_average,
    mean_ranks,
    verdict,
)
from gaborseg.study.paired_tests import corrected_resampled_p
from gaborseg.study.summaries import by_person
from synthetic_runs import (
    FEW_STRUCTURES,
    SUBJECTS,
    split_of,
    study_of,
    tidied,
    write_pair,
    write_run,
)

RATE = 1e-3
METRICS = ("dice", "nsd")


def compared(folder: Path, structure: str = "average") -> Comparison:
    study = study_of(folder)
    rows = compare_all(study, {c.id: RATE for c in study.configurations})
    return next(row for row in rows if row.structure == structure)


def test_differences_are_paired_by_subject_and_split(tmp_path: Path) -> None:
    write_pair(tmp_path, 0.02, splits=3, noise=0)
    row = compared(tmp_path)
    assert (row.first, row.second) == ("mixed-pcc", "mixed-dice")
    assert row.difference == pytest.approx(0.02)
    assert (row.low, row.high) == (pytest.approx(0.02), pytest.approx(0.02))
    assert row.cases == sum(len(split_of(split)["test"]) for split in range(3))
    assert row.subjects == len({s for split in range(3) for s in split_of(split)["test"]})
    assert (row.replicates, row.agreeing) == (3, 3)


def test_the_difference_is_that_of_the_means_over_splits(tmp_path: Path) -> None:
    write_pair(tmp_path, 0.01, splits=4, noise=0.05)
    study = study_of(tmp_path)
    means = {}
    for i, run in enumerate(study.runs):
        means.setdefault(run.choices["loss"], []).append(np.nanmean(study.scores["dice"][i]))
    expected = np.mean(means["pcc"]) - np.mean(means["dice"])
    assert compared(tmp_path).difference == pytest.approx(expected)


def test_a_subject_of_several_splits_counts_once(tmp_path: Path) -> None:
    write_pair(tmp_path, 0.01, splits=5, noise=0.05)
    study = study_of(tmp_path)
    scores = study.scores["dice"].mean(axis=2)
    loss = np.array([run.choices["loss"] for run in study.runs])
    differences = np.nanmean(scores[loss == "pcc"] - scores[loss == "dice"], axis=0)
    row = compared(tmp_path)
    assert row.subjects == len(differences) < row.cases
    assert row.p == pytest.approx(stats.wilcoxon(differences).pvalue)
    assert row.dz == pytest.approx(differences.mean() / differences.std(ddof=1))


def test_holm_is_over_averages_and_over_structures_apart(tmp_path: Path) -> None:
    write_pair(tmp_path, 0.005, splits=2, noise=0.02)
    study = study_of(tmp_path)
    rows = compare_all(study, {c.id: RATE for c in study.configurations})
    average = [row for row in rows if row.structure == "average"]
    single = sorted((row for row in rows if row.structure != "average"), key=lambda row: row.p)
    assert average[0].p_holm == average[0].p
    assert single[0].p_holm == pytest.approx(min(1, 2 * single[0].p))


def test_five_trainings_that_agree_are_shown(tmp_path: Path) -> None:
    write_pair(tmp_path, 0.05, splits=5)
    assert compared(tmp_path).verdict == SHOWN


def test_one_training_shows_a_difference_of_two_networks_alone(tmp_path: Path) -> None:
    write_pair(tmp_path, 0.05, splits=1)
    row = compared(tmp_path)
    assert row.p_holm < 0.001
    assert np.isnan(row.p_trainings)
    assert row.verdict == NETWORKS


def write_seeds(folder: Path, splits: dict[str, int], **scores: float) -> None:
    """Three seeds of one split for each loss, whose scores differ a little."""
    rng = np.random.default_rng(7)
    for loss, split in splits.items():
        for seed in range(3):
            shape = (len(split_of(split)["test"]), len(FEW_STRUCTURES))
            dice = rng.normal(0.5 if loss == "pcc" else 0.4, 0.01, size=shape)
            write_run(
                folder / f"{loss}{seed}",
                {"dice": dice},
                loss=loss,
                split=split,
                seed=seed,
                structures=FEW_STRUCTURES,
            )


def test_seeds_of_one_split_show_a_difference_of_these_networks_alone(tmp_path: Path) -> None:
    write_seeds(tmp_path, {"pcc": 0, "dice": 0})
    row = compared(tmp_path)
    assert (row.replicates, row.agreeing) == (3, 3)
    assert np.isnan(row.p_trainings)
    assert row.verdict == NETWORKS


def test_seeds_of_different_splits_are_not_paired(tmp_path: Path) -> None:
    write_seeds(tmp_path, {"pcc": 0, "dice": 1})
    study = study_of(tmp_path)
    rates: dict[str, float | None] = {c.id: RATE for c in study.configurations}
    assert compare_all(study, rates) == []
    assert mean_ranks(study, rates)[0] == {}


def test_nsd_is_compared_at_one_tolerance_alone(tmp_path: Path) -> None:
    shape = (len(split_of(0)["test"]), len(FEW_STRUCTURES))
    tolerances = {"pcc": 4.0, "dice": 4.0, "cross_entropy": 1.625}
    for loss, tolerance in tolerances.items():
        write_run(
            tmp_path / loss,
            {"dice": np.full(shape, 0.5), "nsd": np.full(shape, 0.5)},
            loss=loss,
            structures=FEW_STRUCTURES,
            outcome={"nsd_tolerance": tolerance},
        )
    study = study_of(tmp_path)
    rates: dict[str, float | None] = {c.id: RATE for c in study.configurations}
    pairs = [{(row.first, row.second) for row in compare_all(study, rates, m)} for m in METRICS]
    assert [len(found) for found in pairs] == [3, 1]
    assert pairs[1] == {("mixed-pcc", "mixed-dice")}


def test_a_table_of_runs_has_the_statistics_of_the_runs(tmp_path: Path) -> None:
    write_pair(tmp_path / "runs", 0.05, splits=3)
    study = study_of(tmp_path / "runs")
    kept = tidied(study, tmp_path / "kept")
    rates = {c.id: RATE for c in study.configurations}
    assert compare_all(kept, rates) == compare_all(study, rates)


def test_without_the_number_of_training_subjects_nothing_is_said_of_trainings(
    tmp_path: Path,
) -> None:
    write_pair(tmp_path / "runs", 0.05, splits=5)
    tidied(study_of(tmp_path / "runs"), tmp_path / "kept")
    table = pd.read_csv(tmp_path / "kept/study.csv").drop(columns="training_subjects")
    table.to_csv(tmp_path / "kept/study.csv", index=False)
    row = compared(tmp_path / "kept")
    assert np.isnan(row.p_trainings)
    assert row.verdict == NETWORKS


@pytest.mark.parametrize("known", [True, False])
def test_nsd_in_tables_is_compared_at_one_known_tolerance_alone(
    known: bool, tmp_path: Path
) -> None:
    scores = np.random.default_rng(0).uniform(size=(13, 2))
    for kernel in ("mixed", "gabor"):
        outcome = {"nsd_tolerance": 2.5} if known else {}
        folder = tmp_path / "runs" / kernel
        values = dict.fromkeys(METRICS, scores)
        write_run(folder, values, kernel=kernel, structures=FEW_STRUCTURES, outcome=outcome)
    study = tidied(study_of(tmp_path / "runs"), tmp_path / "kept")
    rates = {c.id: RATE for c in study.configurations}
    assert bool(compare_all(study, rates, "nsd")) == known
    results = compute(study)
    assert results.better("nsd") == known


def test_one_seed_is_compared_with_the_mean_of_several(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    dice = {
        (k, s): rng.uniform(size=(13, 2)) for k, s in (("gabor", 3), ("mixed", 0), ("mixed", 1))
    }
    for (kernel, seed), values in dice.items():
        folder = tmp_path / f"{kernel}{seed}"
        write_run(folder, {"dice": values}, kernel=kernel, seed=seed, structures=FEW_STRUCTURES)
    row = compared(tmp_path)
    mean = (dice["mixed", 0] + dice["mixed", 1]) / 2
    assert abs(row.difference) == pytest.approx(abs((dice["gabor", 3] - mean).mean()))
    assert (row.subjects, row.replicates) == (13, 1)
    study = study_of(tmp_path)
    assert len(mean_ranks(study, {c.id: RATE for c in study.configurations})[0]) == 2


def test_the_interval_of_an_average_holds_it_though_few_people_have_a_structure() -> None:
    rng = np.random.default_rng(0)
    cases = np.stack([rng.normal(0.9, 0.01, 20), rng.normal(0.1, 0.01, 20)], axis=1)[None]
    cases[:, 2:, 1] = np.nan
    low, high = interval_of_average(cases)
    average = np.mean([cases[0, :, 0].mean(), cases[0, :2, 1].mean()])
    assert low < average < high < 0.52


def test_where_nothing_is_missing_both_intervals_agree() -> None:
    cases = np.random.default_rng(0).uniform(size=(1, 12, 3))
    low, high = bootstrap_interval(cases.mean(axis=2, keepdims=True))
    assert interval_of_average(cases) == pytest.approx((low[0], high[0]))


def test_one_person_has_no_interval_of_the_average() -> None:
    assert np.isnan(interval_of_average(np.full((1, 1, 3), 0.5))).all()


def test_trainings_that_disagree_show_no_difference_of_configurations(tmp_path: Path) -> None:
    write_pair(tmp_path, 0.02, splits=5, noise=0.002, trained=0.02)
    row = compared(tmp_path)
    assert row.p_holm < 0.05 < row.p_trainings
    assert row.verdict == NETWORKS


def test_no_difference_is_not_shown(tmp_path: Path) -> None:
    write_pair(tmp_path, 0.0, splits=5)
    assert compared(tmp_path).verdict == NOT_SHOWN


def test_five_subjects_are_too_few_for_any_claim(tmp_path: Path) -> None:
    subjects = SUBJECTS[:17]
    tested = len(split_of(0, subjects)["test"])
    assert tested == 5
    for loss, dice in (("pcc", 0.9), ("dice", 0.1)):
        table = np.full((tested, 2), dice) + np.arange(tested)[:, None] * dice / 100
        write_run(
            tmp_path / loss,
            {"dice": table},
            loss=loss,
            structures=FEW_STRUCTURES,
            subjects=subjects,
        )
    row = compared(tmp_path)
    assert row.p == 0.0625
    assert row.verdict == TOO_FEW


def test_so_many_comparisons_that_none_could_be_significant_are_too_many(tmp_path: Path) -> None:
    write_pair(tmp_path, 0.05, splits=1)
    row = compared(tmp_path)
    assert verdict(row, smallest_adjusted_p=0.06) == TOO_FEW
    assert verdict(replace(row, p_trainings=0.01), smallest_adjusted_p=0.04) == SHOWN


def test_an_interval_around_zero_claims_nothing(tmp_path: Path) -> None:
    write_pair(tmp_path, 0.05, splits=5)
    assert verdict(replace(compared(tmp_path), low=-0.001)) == NOT_SHOWN


def test_the_interval_is_a_bootstrap_over_whole_subjects() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(1, 2, size=40)
    low, high = bootstrap_interval(np.tile(values[None, :, None], (3, 1, 1)))
    reference = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=1)
    expected = reference.confidence_interval
    width = expected.high - expected.low
    assert low[0] == pytest.approx(expected.low, abs=0.06 * width)
    assert high[0] == pytest.approx(expected.high, abs=0.06 * width)
    assert high[0] - low[0] > width * 0.99


def test_the_interval_covers_the_truth_of_small_samples_about_as_often_as_it_says() -> None:
    samples = np.random.default_rng(8).normal(size=(1, 12, 800))
    low, high = bootstrap_interval(samples, resamples=2000)
    assert 0.93 < np.mean((low < 0) & (high > 0)) < 0.975


def test_columns_that_some_subjects_lack_have_their_own_interval() -> None:
    values = np.random.default_rng(4).normal(size=(1, 30, 2))
    values[0, 20:, 1] = np.nan
    low, high = bootstrap_interval(values)
    alone = bootstrap_interval(values[:, :20, 1:])
    assert low[1] == pytest.approx(alone[0][0], abs=0.08)
    assert high[1] == pytest.approx(alone[1][0], abs=0.08)


def test_scans_of_a_person_are_averaged_first() -> None:
    cases = np.array([[[1.0], [3.0], [8.0]], [[5.0], [np.nan], [np.nan]]])
    collapsed = by_person(cases, ["a", "a", "b"])
    np.testing.assert_array_equal(collapsed, [[[2.0], [8.0]], [[5.0], [np.nan]]])
    assert by_person(cases, ["a", "b", "c"]) is cases


def test_comparisons_and_ranks_count_people(tmp_path: Path) -> None:
    write_pair(tmp_path, 0.02, splits=1, noise=0.01)
    study = study_of(tmp_path)
    pairs = tuple(f"person{i // 2}" for i in range(len(study.subjects)))
    rates = {c.id: RATE for c in study.configurations}
    paired = replace(study, people=pairs)
    alone, row = (
        next(r for r in compare_all(one, rates) if r.structure == "average")
        for one in (study, paired)
    )
    assert row.subjects == mean_ranks(paired, rates)[1] == len({*pairs})
    assert row.cases < alone.cases
    assert row.p > alone.p


def test_one_subject_has_no_interval() -> None:
    assert np.isnan(bootstrap_interval(np.ones((2, 1, 1)))).all()
    values = np.random.default_rng(2).normal(size=(1, 9, 2))
    values[0, 1:, 1] = np.nan
    assert np.isnan(bootstrap_interval(values)).tolist() == [[False, True], [False, True]]


def test_independent_replicates_have_the_usual_t_test() -> None:
    differences = np.array([0.2, 0.4, 0.1, 0.5])
    expected = stats.ttest_1samp(differences, 0).pvalue
    assert corrected_resampled_p(differences, 0) == pytest.approx(expected)


def test_overlapping_training_sets_weaken_the_t_test_by_their_share() -> None:
    differences = np.array([0.2, 0.4, 0.1, 0.5, 0.3])
    t = differences.mean() / np.sqrt((1 / 5 + 13 / 26) * differences.var(ddof=1))
    assert corrected_resampled_p(differences, 13 / 26) == pytest.approx(2 * stats.t.sf(t, 4))


def test_replicates_without_spread_or_alone_are_handled() -> None:
    assert corrected_resampled_p(np.full(3, 0.25), 0.5) == 0
    assert corrected_resampled_p(np.zeros(3), 0.5) == 1
    assert np.isnan(corrected_resampled_p(np.ones(1), 0.5))
    assert np.isnan(cohens_dz(np.ones(4)))


def test_ranks_are_those_of_the_subjects_means(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    tables = {}
    for loss in ("pcc", "dice", "cross_entropy"):
        tables[loss] = rng.uniform(size=(len(split_of(0)["test"]), 2))
        write_run(tmp_path / loss, {"dice": tables[loss]}, loss=loss, structures=FEW_STRUCTURES)
    study = study_of(tmp_path)
    ranks, subjects, p = mean_ranks(study, {c.id: RATE for c in study.configurations})
    means = np.array([table.mean(axis=1) for table in tables.values()])
    expected = [(1 + (means > row).sum(axis=0)).mean() for row in means]
    assert [ranks[f"mixed-{loss}".replace("_", "-")] for loss in tables] == pytest.approx(expected)
    assert subjects == means.shape[1]
    assert p == pytest.approx(stats.friedmanchisquare(*means).pvalue)


def test_configurations_of_different_splits_are_not_compared(tmp_path: Path) -> None:
    for loss, split in (("pcc", 0), ("dice", 1)):
        tested = len(split_of(split)["test"])
        write_run(
            tmp_path / loss,
            {"dice": np.full((tested, 2), 0.5)},
            loss=loss,
            split=split,
            structures=FEW_STRUCTURES,
        )
    study = study_of(tmp_path)
    assert compare_all(study, {c.id: RATE for c in study.configurations}) == []
    assert mean_ranks(study, {c.id: RATE for c in study.configurations})[0] == {}
