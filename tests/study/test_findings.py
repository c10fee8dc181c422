import json
from dataclasses import replace
from pathlib import Path

import pytest

from gaborseg.study import Results, compute, findings
from synthetic_runs import study_of, write_grid, write_pair, write_small_run


def results_of(folder: Path) -> Results:
    return compute(study_of(folder))


def test_a_better_configuration_that_is_shown_is_said_to_be(tmp_path: Path) -> None:
    write_pair(tmp_path, 0.05, splits=5)
    (first, *_) = findings(results_of(tmp_path))
    assert (
        "It is shown to be better than every other configuration "
        "(p < 0.05 over subjects and over trainings)."
    ) in first.note
    assert "5 splits" in first.note


def test_a_difference_that_is_not_shown_is_said_not_to_be(tmp_path: Path) -> None:
    write_pair(tmp_path, 0.0, splits=5)
    (first, *_) = findings(results_of(tmp_path))
    assert "Not shown to be better than mixed · " in first.note
    assert "(that takes p < 0.05 over subjects and over trainings)" in first.note


def test_a_difference_against_the_best_is_no_proof_for_it(tmp_path: Path) -> None:
    write_pair(tmp_path, 0.05, splits=5)
    results = results_of(tmp_path)
    turned = [replace(row, difference=-row.difference) for row in results.comparisons["dice"]]
    (first, *_) = findings(replace(results, comparisons={"dice": turned}))
    assert "Not shown to be better than mixed · Dice (" in first.note


def test_what_was_never_compared_is_not_shown(tmp_path: Path) -> None:
    write_pair(tmp_path, 0.05, splits=5)
    (first, *_) = findings(replace(results_of(tmp_path), comparisons={"dice": []}))
    assert "Not shown to be better than mixed · Dice (" in first.note


def test_one_training_is_said_to_be_of_these_networks_alone(tmp_path: Path) -> None:
    write_pair(tmp_path, 0.05, splits=1)
    (first, *_) = findings(results_of(tmp_path))
    assert "These trained networks are better" in first.note


def test_a_best_network_that_is_the_smallest_has_no_smaller_equal(tmp_path: Path) -> None:
    for kernel, dice in (("mixed", 0.8), ("conventional", 0.799)):
        write_small_run(tmp_path / kernel, dice=dice, kernel=kernel)
    titles = [finding.title for finding in findings(results_of(tmp_path))]
    assert titles == ["Highest mean test Dice"]


@pytest.mark.slow
def test_a_best_network_of_unknown_size_has_no_smaller_equal(tmp_path: Path) -> None:
    for kernel, dice in (("mixed", 0.7), ("conventional", 0.7), ("gabor", 0.9)):
        write_small_run(tmp_path / kernel, dice=dice, kernel=kernel)
    record = json.loads((tmp_path / "gabor/run.json").read_text())
    (tmp_path / "gabor/run.json").write_text(json.dumps(record | {"parameters": {}}))
    assert [found.title for found in findings(results_of(tmp_path))] == ["Highest mean test Dice"]


def test_the_smaller_equal_and_the_most_robust_are_named(tmp_path: Path) -> None:
    write_grid(tmp_path, rates=(1e-4, 1e-3, 1e-2), splits=(0,))
    _, small, robust = findings(results_of(tmp_path))
    assert small.value == "1.60 M parameters"
    assert small.note.startswith("mixed · PCC: ")
    assert robust.value.endswith("PCC")
