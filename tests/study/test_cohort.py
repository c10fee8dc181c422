from pathlib import Path

import numpy as np

from gaborseg.study import make_study, participant_rows, read_runs, source_of, tidy_runs
from synthetic_runs import (
    FEW_STRUCTURES,
    FEW_SUBJECTS,
    NUM_TESTED,
    split_of,
    study_of,
    tidied,
    write_small_run,
)


def test_runs_of_other_structures_are_left_out_with_their_folder(tmp_path: Path) -> None:
    for seed in range(3):
        write_small_run(tmp_path / str(seed), seed=seed)
    write_small_run(tmp_path / "z", structures=("liver", "spleen"))
    study = study_of(tmp_path)
    assert len(study.runs) == 3
    (problem,) = study.problems
    assert problem.folder == str(tmp_path / "z")
    assert (
        problem.message == "left out: its structures (2: liver, spleen) are not those of most runs"
    )


def test_runs_of_other_data_are_left_out_with_their_folder(tmp_path: Path) -> None:
    write_small_run(tmp_path / "a")
    write_small_run(tmp_path / "b", seed=1)
    write_small_run(tmp_path / "c", data={"name": "other"})
    (problem,) = study_of(tmp_path).problems
    assert "its data are others: name is other, and cohort in most runs" in str(problem)


def test_runs_tell_whose_scans_their_subjects_are(tmp_path: Path) -> None:
    first, second, *_ = split_of(0, FEW_SUBJECTS)["test"]
    write_small_run(tmp_path / "a", data={"participants": {first: "anna", second: "anna"}})
    study = study_of(tmp_path)
    told = dict(zip(study.subjects, study.people, strict=True))
    wanted = {first: "anna", second: "anna"}
    assert told == {subject: wanted.get(subject, subject) for subject in study.subjects}
    assert [run.people for run in tidy_runs(study)] == [wanted]


def test_nobody_is_called_not_available(tmp_path: Path) -> None:
    write_small_run(tmp_path / "a", data={"root": str(tmp_path)})
    lines = ["participant_id\tparticipant", *(f"{subject}\tn/a" for subject in FEW_SUBJECTS)]
    (tmp_path / "participants.tsv").write_text("\n".join(lines))
    study = study_of(tmp_path)
    assert study.people == study.subjects


def test_nobody_in_a_tidy_table_is_called_not_available(tmp_path: Path) -> None:
    rows = [f"{s},n/a,inner,0.5" for s in "ab"]
    (tmp_path / "kept.csv").write_text("\n".join(["subject,participant,structure,dice", *rows]))
    assert study_of(tmp_path).people == ("a", "b")


def test_a_copy_may_have_its_rows_in_another_order(tmp_path: Path) -> None:
    write_small_run(tmp_path / "runs/one")
    tidied(study_of(tmp_path / "runs"), tmp_path / "kept")
    header, *rows = (tmp_path / "kept/study.csv").read_text().splitlines()
    (tmp_path / "kept/study.csv").write_text("\n".join([header, *reversed(rows), ""]))
    study = study_of(tmp_path)
    assert (len(study.runs), study.problems) == (1, ())


def test_the_subjects_of_several_folders_are_told_of_by_their_new_names(tmp_path: Path) -> None:
    for name, cells in (("a", "age\tparticipant\nsub-1\t30\tp"), ("b", "sex\nsub-1\tf")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "participants.tsv").write_text(f"participant_id\t{cells}\n")
    roots = {str(tmp_path / "a"): "sub-siteA-", str(tmp_path / "b"): "sub-siteB-"}
    (tmp_path / "c/sub-1").mkdir(parents=True)
    roots[str(tmp_path / "c")] = "sub-siteC-"
    write_small_run(tmp_path / "run", data={"root": str(tmp_path / "a"), "roots": roots})
    assert participant_rows(read_runs([tmp_path / "run"])[0]) == {
        "sub-siteA-1": {
            "participant_id": "sub-siteA-1",
            "age": "30",
            "participant": "sub-siteA-p",
            "data_set": "a",
        },
        "sub-siteB-1": {"participant_id": "sub-siteB-1", "sex": "f", "data_set": "b"},
        "sub-siteC-1": {"participant_id": "sub-siteC-1", "data_set": "c"},
    }


def test_files_of_several_folders_are_found_by_the_new_names(tmp_path: Path) -> None:
    roots = {}
    for name, subject in (("a", "sub-1"), ("b", "sub-1"), ("c", "sub-2")):
        (tmp_path / name / subject / "anat").mkdir(parents=True)
        roots[str(tmp_path / name)] = "sub-" if name == "c" else f"sub-{name}-"
    write_small_run(tmp_path / "run", data={"root": str(tmp_path / "a"), "roots": roots})
    (run,) = read_runs([tmp_path / "run"])[0]
    for subject, own in (("sub-a-1", "a/sub-1"), ("sub-b-1", "b/sub-1"), ("sub-2", "c/sub-2")):
        assert source_of(run, subject) == (tmp_path / own / "anat", Path(own).name)


def test_the_size_of_the_volumes_is_a_setting_of_one_cohort(tmp_path: Path) -> None:
    write_small_run(tmp_path / "a")
    write_small_run(tmp_path / "b", data={"size": [128] * 3}, settings={"data.source.size": 128})
    study = study_of(tmp_path)
    assert not study.problems
    assert [c.variant for c in study.configurations] == ["size 128", "size 48"]


def test_a_second_run_of_the_same_cell_is_left_out_with_both_folders(tmp_path: Path) -> None:
    write_small_run(tmp_path / "a", dice=0.5)
    write_small_run(tmp_path / "b", dice=0.6)
    study = study_of(tmp_path)
    assert [run.folder.name for run in study.runs] == ["a"]
    (problem,) = map(str, study.problems)
    assert str(tmp_path / "b") in problem
    assert f"the same settings, split and seed as {tmp_path / 'a'}" in problem


def test_a_copy_of_a_run_counts_once_and_is_no_problem(tmp_path: Path) -> None:
    write_small_run(tmp_path / "a")
    write_small_run(tmp_path / "b")
    tables = write_small_run(tmp_path / "mixed_pcc")
    for name in ("config.yaml", "run.json", "done.json"):
        (tables / name).unlink()
    study = study_of(tmp_path)
    assert len(study.runs) == 1
    assert not study.problems
    assert study.notes == ("2 run folders hold copies of other runs and count once.",)


def test_missing_scores_are_told_with_the_folder_and_left_out_of_the_means(tmp_path: Path) -> None:
    folder = write_small_run(tmp_path / "a")
    text = (folder / "subjects.csv").read_text().splitlines()
    text[1] = text[1].rpartition(",")[0] + ","
    (folder / "subjects.csv").write_text("\n".join(text) + "\n")
    study = study_of(tmp_path)
    (problem,) = map(str, study.problems)
    assert problem.startswith(
        f"{folder}: no Dice for 1 of {NUM_TESTED * 2} structures of test subjects"
    )
    assert np.isnan(study.scores["dice"]).sum() == 1


def test_other_test_subjects_in_the_same_split_are_told(tmp_path: Path) -> None:
    for seed in range(3):
        write_small_run(tmp_path / str(seed), seed=seed)
    text = (tmp_path / "2/subjects.csv").read_text()
    names = sorted(set(FEW_SUBJECTS) - {line.split(",")[0] for line in text.splitlines()})
    subject = text.splitlines()[1].split(",")[0]
    (tmp_path / "2/subjects.csv").write_text(text.replace(f"\n{subject},", f"\n{names[0]},"))
    (problem,) = study_of(tmp_path).problems
    assert problem.folder == str(tmp_path / "2")
    assert problem.message.startswith(
        f"lacks 1 of the {NUM_TESTED} test subjects of split 0 and tests 1 other subjects than"
    )


def test_a_lone_run_must_have_tested_the_subjects_that_it_names(tmp_path: Path) -> None:
    scores = write_small_run(tmp_path / "a") / "subjects.csv"
    scores.write_text("".join(scores.read_text().splitlines(keepends=True)[:-2]))
    (problem,) = map(str, study_of(tmp_path).problems)
    assert f"lacks 1 of the {NUM_TESTED} test subjects of split 0; comparisons use" in problem


def test_scores_stand_where_run_subject_and_structure_say(tmp_path: Path) -> None:
    dice = np.arange(NUM_TESTED * 2).reshape(NUM_TESTED, 2) / 100
    folder = write_small_run(tmp_path / "a")
    rows = ["subject,structure,dice"]
    tested = ["a", "c", "h"][:NUM_TESTED]
    for i in reversed(range(NUM_TESTED)):
        rows += [f"{tested[i]},{FEW_STRUCTURES[j]},{dice[i, j]}" for j in (1, 0)]
    (folder / "subjects.csv").write_text("\n".join(rows))
    study = study_of(tmp_path)
    assert study.subjects == tuple(tested)
    assert np.array_equal(study.scores["dice"][0], dice)


def test_tables_of_subjects_that_the_data_do_not_have_are_left_out(tmp_path: Path) -> None:
    write_small_run(tmp_path / "a")
    tables = write_small_run(tmp_path / "gabor_pcc")
    for name in ("config.yaml", "run.json", "done.json"):
        (tables / name).unlink()
    scores = tables / "subjects.csv"
    first = scores.read_text().splitlines()[1][0]
    scores.write_text(scores.read_text().replace(f"\n{first},", "\nstranger,"))
    (problem,) = map(str, study_of(tmp_path).problems)
    assert f"{tables}: left out: its test subject stranger is not in the data" in problem


def test_planned_runs_without_a_folder_are_missing(tmp_path: Path) -> None:
    run = write_small_run(tmp_path / "a")
    planned = [run, tmp_path / "b"]
    study = make_study(*read_runs([run]), planned=planned)
    assert study.missing == (tmp_path / "b",)
