from pathlib import Path

import numpy as np
import pytest

from gaborseg.study import rate_at_edge, replicates_of
from gaborseg.study.summaries import chosen_rates, summarise
from synthetic_runs import (
    FEW_STRUCTURES,
    FEW_SUBJECTS,
    NUM_TESTED,
    split_of,
    study_of,
    write_run,
    write_small_run,
)


def a_split(folder: Path, dice: list[list[float]], split: int, seed: int = 0) -> None:
    tested = len(split_of(split, FEW_SUBJECTS)["test"])
    scores = {"dice": np.array(dice)[:tested]}
    write_run(
        folder / f"{split}-{seed}",
        scores,
        split=split,
        seed=seed,
        structures=FEW_STRUCTURES,
        subjects=FEW_SUBJECTS,
    )


def test_means_are_over_subjects_then_structures_then_splits(tmp_path: Path) -> None:
    tables = np.random.default_rng(0).uniform(size=(3, NUM_TESTED, 2))
    for split, table in enumerate(tables):
        a_split(tmp_path, table.tolist(), split)
    study = study_of(tmp_path)
    found = summarise(replicates_of(study, study.configurations[0], 1e-3))
    by_split = tables.mean(axis=1)
    assert found.mean[:2] == pytest.approx(by_split.mean(axis=0))
    assert found.std[:2] == pytest.approx(by_split.std(axis=0, ddof=1))
    assert found.mean[2] == pytest.approx(by_split.mean())
    assert found.std[2] == pytest.approx(by_split.mean(axis=1).std(ddof=1))


def test_an_absent_structure_is_left_out_of_its_own_mean_alone(tmp_path: Path) -> None:
    table = np.full((NUM_TESTED, 2), 0.5)
    table[0] = np.nan, 0.9
    a_split(tmp_path, table.tolist(), 0)
    study = study_of(tmp_path)
    found = summarise(replicates_of(study, study.configurations[0], 1e-3))
    outer = (0.9 + 0.5 * (NUM_TESTED - 1)) / NUM_TESTED
    assert found.mean.tolist() == pytest.approx([0.5, outer, (0.5 + outer) / 2])


def test_seeds_of_a_split_are_averaged_before_the_spread_over_splits(tmp_path: Path) -> None:
    for split, seed, dice in ((0, 0, 0.2), (0, 1, 0.4), (1, 0, 0.9)):
        a_split(tmp_path, [[dice, dice]] * NUM_TESTED, split, seed)
    study = study_of(tmp_path)
    replicates = replicates_of(study, study.configurations[0], 1e-3)
    assert (replicates.kind, replicates.names) == ("split", ("0", "1"))
    assert replicates.averages.tolist() == pytest.approx([0.3, 0.9])
    assert replicates.count == f"{replicates.subjects} subjects, 2 splits, 3 runs"


def test_seeds_are_the_replicates_where_there_is_one_split(tmp_path: Path) -> None:
    for seed, dice in ((0, 0.2), (10, 0.4), (9, 0.9)):
        a_split(tmp_path, [[dice, dice]] * NUM_TESTED, 0, seed)
    study = study_of(tmp_path)
    replicates = replicates_of(study, study.configurations[0], 1e-3)
    assert (replicates.kind, replicates.names) == ("seed", ("0", "9", "10"))
    assert replicates.count == f"{NUM_TESTED} subjects, 3 seeds"


def test_one_run_has_a_mean_and_no_spread(tmp_path: Path) -> None:
    write_small_run(tmp_path / "run", dice=0.25)
    study = study_of(tmp_path)
    replicates = replicates_of(study, study.configurations[0], 1e-3)
    assert replicates.count == f"{NUM_TESTED} subjects, 1 split"
    assert summarise(replicates).mean.tolist() == [0.25] * 3
    assert np.isnan(summarise(replicates).std).all()


def test_the_papers_rate_is_chosen_where_most_have_it(tmp_path: Path) -> None:
    write_small_run(tmp_path / "a", rate=1e-3)
    write_small_run(tmp_path / "b", rate=1e-2)
    write_small_run(tmp_path / "c", rate=1e-3, loss="dice")
    write_small_run(tmp_path / "d", rate=1e-2, kernel="gabor")
    assert chosen_rates(study_of(tmp_path)) == {"mixed-pcc": 1e-3, "mixed-dice": 1e-3}


def test_elsewhere_the_rate_of_the_highest_validation_dice_is_chosen(tmp_path: Path) -> None:
    for rate, best in ((1e-2, 0.7), (1e-4, 0.9), (1e-5, 0.8)):
        folder = write_small_run(tmp_path / str(rate), rate=rate)
        (folder / "metrics.csv").write_text(f"epoch,val/dice\n0,{best}\n1,0.1\n")
    assert chosen_rates(study_of(tmp_path)) == {"mixed-pcc": 1e-4}


@pytest.mark.parametrize(
    ("values", "edge"),
    [
        ({1e-4: 0.7, 1e-3: 0.8, 1e-2: 0.9}, 1e-2),
        ({1e-4: 0.9, 1e-3: 0.8, 1e-2: 0.7}, 1e-4),
        ({1e-4: 0.7, 1e-3: 0.9, 1e-2: 0.8}, None),
        ({1e-4: 0.7, 1e-3: 0.9, 1e-2: 0.9}, None),
        ({1e-3: 0.9}, None),
    ],
)
def test_a_best_rate_at_an_end_of_the_tested_ones_is_found(
    tmp_path: Path, values: dict[float, float], edge: float | None
) -> None:
    for rate, best in values.items():
        folder = write_small_run(tmp_path / str(rate), rate=rate)
        (folder / "metrics.csv").write_text(f"epoch,val/dice\n0,{best}\n")
    study = study_of(tmp_path)
    assert rate_at_edge(study, study.configurations[0]) == edge


def test_a_rate_that_no_run_has_is_said(tmp_path: Path) -> None:
    write_small_run(tmp_path / "a")
    with pytest.raises(
        ValueError, match=r"rate must be a learning rate of the runs \(0.001\), got 0.5"
    ):
        chosen_rates(study_of(tmp_path), 0.5)
    with pytest.raises(ValueError, match="rate must be auto, best or a positive number, got fast"):
        chosen_rates(study_of(tmp_path), "fast")


def test_volume_errors_are_relative_to_the_truth(tmp_path: Path) -> None:
    shape = (NUM_TESTED, 2)
    scores = {
        "dice": np.ones(shape),
        "volume": np.full(shape, 90.0),
        "true_volume": np.full(shape, 100.0),
    }
    scores["true_volume"][0, 0] = 0
    write_run(tmp_path / "run", scores, structures=FEW_STRUCTURES, subjects=FEW_SUBJECTS)
    study = study_of(tmp_path)
    assert np.nanmax(np.abs(study.scores["volume_error"] + 0.1)) < 1e-12
    assert np.isnan(study.scores["volume_error"]).sum() == 1
    assert np.nanmin(study.scores["absolute_volume_error"]) == pytest.approx(0.1)
