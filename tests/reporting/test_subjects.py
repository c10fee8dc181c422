"""What a report says of single subjects: scores, participants, confusions, the viewer's choice."""

import base64
import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from gaborseg.reporting.page.subject_data import subject_data
from gaborseg.reporting.pictures import read_case
from gaborseg.reporting.subjects.confusion import confusion_counts, confusion_tables, confusions
from gaborseg.reporting.subjects.participants import participant_columns
from gaborseg.reporting.subjects.viewer import check_viewer, told_size, viewer_subjects
from gaborseg.study import Results, compute, read_runs
from synthetic_runs import (
    FEW_STRUCTURES,
    FEW_SUBJECTS,
    NUM_TESTED,
    split_of,
    study_of,
    write_run,
    write_small_run,
)
from tiny_cohort import SHAPE, write_nifti

TESTED = split_of(0, FEW_SUBJECTS)["test"]
STEPS = np.linspace(0.9, 0.5, NUM_TESTED)


def truth_map() -> np.ndarray:
    label = np.zeros(SHAPE, np.uint8)
    label[2:6, 2:6, 2:4], label[2:6, 2:6, 4:6] = 1, 2
    return label


def shifted(by: int) -> np.ndarray:
    return np.roll(truth_map(), by, axis=2)


def write_predicted(
    folder: Path, loss: str = "pcc", shift: int = 1, split: int = 0, dice: np.ndarray = STEPS
) -> Path:
    """A run with label maps, its first test subject the best one, and the data it was tested on."""
    tested = split_of(split, FEW_SUBJECTS)["test"]
    scores = {"dice": np.tile(dice[:, None], (1, len(FEW_STRUCTURES)))}
    run = write_run(
        folder / "runs" / f"{loss}{split}",
        scores,
        loss=loss,
        split=split,
        structures=FEW_STRUCTURES,
        subjects=FEW_SUBJECTS,
        data={"root": str(folder / "data"), "channels": ["T1w"]},
    )
    for subject in tested:
        stem = folder / "data" / subject / "anat" / subject
        write_nifti(Path(f"{stem}_T1w.nii.gz"), (100.0 * truth_map()).astype(np.float32))
        write_nifti(Path(f"{stem}_dseg.nii.gz"), truth_map())
        write_nifti(run / "predictions" / f"{subject}.nii.gz", shifted(shift))
    return run


def results_of(folder: Path) -> Results:
    return compute(study_of(folder / "runs"))


def test_scores_of_subjects_are_whole_numbers_one_decimal_finer_than_shown(tmp_path: Path) -> None:
    scores = np.full((NUM_TESTED, 2), 0.83126)
    scores[0, 1] = np.nan
    folder = tmp_path / "runs/one"
    write_run(folder, {"dice": scores}, structures=FEW_STRUCTURES, subjects=FEW_SUBJECTS)
    found = subject_data(results_of(tmp_path))
    rows = dict(zip(found["names"], found["scores"]["dice"]["mixed-pcc"], strict=True))
    assert rows[TESTED[0]] == [8313, None]
    assert rows[TESTED[1]] == [8313, 8313]


def test_runs_that_tested_a_subject_are_averaged(tmp_path: Path) -> None:
    for seed, dice in ((0, 0.5), (1, 0.7)):
        write_small_run(tmp_path / f"runs/{seed}", dice=dice, seed=seed)
    found = subject_data(results_of(tmp_path))
    assert found["scores"]["dice"]["mixed-pcc"] == [[6000, 6000]] * NUM_TESTED


def write_participants(folder: Path, text: str) -> Results:
    write_predicted(folder)
    (folder / "data/participants.tsv").write_text(text)
    return results_of(folder)


def test_columns_of_participants_are_numbers_or_words(tmp_path: Path) -> None:
    first, second = TESTED[:2]
    rows = [
        ("participant_id", "age", "sex", "empty"),
        (first, "31.5", "f", "n/a"),
        (second, "n/a", "m", ""),
        ("other", "7", "x", ""),
    ]
    results = write_participants(tmp_path, "".join("\t".join(row) + "\n" for row in rows))
    age, sex = participant_columns(results.study.runs, [first, second])
    assert age == {"name": "age", "number": True, "values": [31.5, None]}
    assert sex == {"name": "sex", "number": False, "values": ["f", "m"]}


def test_columns_may_be_of_some_subjects_only(tmp_path: Path) -> None:
    write_predicted(tmp_path)
    first, second = TESTED[:2]
    roots = {}
    for name, column, subject in (("1", "age", first), ("2", "sex", second)):
        (tmp_path / name).mkdir()
        roots[str(tmp_path / name)] = "sub-"
        lines = f"participant_id\t{column}\n{subject}\t1\n"
        (tmp_path / name / "participants.tsv").write_text(lines)
    write_small_run(tmp_path / "runs/0", data={"root": "1", "roots": roots})
    columns = participant_columns(read_runs([tmp_path / "runs/0"])[0], [first, second])
    assert {column["name"]: column["values"] for column in columns} == {
        "age": [1.0, None],
        "data_set": ["1", "2"],
        "sex": [None, 1.0],
    }


def test_without_a_table_of_participants_nothing_is_told_of_them(tmp_path: Path) -> None:
    write_predicted(tmp_path)
    assert participant_columns(results_of(tmp_path).study.runs, TESTED) == []


def test_a_table_of_participants_that_is_none_is_a_note(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    results = write_participants(tmp_path, "name\tage\na\t3\n")
    assert participant_columns(results.study.runs, TESTED) == []
    assert "it must have a column participant_id" in caplog.text


def test_confusions_are_of_the_subjects_of_all_folders(tmp_path: Path) -> None:
    run = write_predicted(tmp_path)
    subject = TESTED[0]
    home, other = tmp_path / "data" / subject, tmp_path / "other/sub-1/anat"
    other.mkdir(parents=True)
    for path in (home / "anat").iterdir():
        name = path.name.replace(f"{subject}_", "sub-1_").replace("T1w", "MPRAGE")
        path.rename(other / name)
    (home / "anat").rmdir()
    record = json.loads((run / "run.json").read_text())
    record["data"]["roots"] = {str(tmp_path / "data"): "sub-", str(tmp_path / "other"): "sub-x-"}
    (run / "run.json").write_text(json.dumps(record).replace(f'"{subject}"', '"sub-x-1"'))
    (run / "predictions" / f"{subject}.nii.gz").rename(run / "predictions/sub-x-1.nii.gz")
    table = (run / "subjects.csv").read_text().replace(f"\n{subject},", "\nsub-x-1,")
    (run / "subjects.csv").write_text(table)
    results = results_of(tmp_path)
    (found,) = confusions(results).values()
    assert found.cases == NUM_TESTED
    (loaded,) = results.study.runs
    assert read_case(loaded, "sub-x-1")[0].shape == SHAPE


def test_voxels_are_counted_by_true_and_predicted_label() -> None:
    rng = np.random.default_rng(0)
    truth, labels = rng.integers(0, 4, (2, *SHAPE))
    expected = np.zeros((4, 4), int)
    np.add.at(expected, (truth, labels), 1)
    np.testing.assert_array_equal(confusion_counts(truth, labels, 4), expected)


def test_a_prediction_that_is_no_label_is_refused() -> None:
    with pytest.raises(ValueError, match=r"predicted labels must be 0\.\.2, got 3"):
        confusion_counts(np.zeros(3, int), np.array([0, 3, 0]), 3)
    with pytest.raises(ValueError, match=r"the prediction must have the shape \(3,\), got \(2,\)"):
        confusion_counts(np.zeros(3, int), np.zeros(2, int), 3)


def test_confusions_are_summed_over_the_test_cases_of_a_configuration(tmp_path: Path) -> None:
    for split in range(2):
        write_predicted(tmp_path, split=split)
    (found,) = confusions(results_of(tmp_path)).values()
    assert found.cases == 2 * NUM_TESTED
    one = confusion_counts(truth_map(), shifted(1), 3)
    np.testing.assert_array_equal(found.counts, 2 * NUM_TESTED * one)
    assert found.shares[1].tolist() == [0.5, 0.5, 0]


def test_the_tables_of_confusions_name_what_was_taken_for_what(tmp_path: Path) -> None:
    write_predicted(tmp_path)
    results = results_of(tmp_path)
    pairs, matrix = confusion_tables(results, confusions(results))
    told = {row[1:3]: row[3:] for row in pairs.rows}
    voxels = 16 * NUM_TESTED
    assert told == {
        ("inner", "background"): (0.5, voxels),
        ("outer", "inner"): (0.5, voxels),
    }
    assert matrix.name == "confusion_mixed-pcc"
    assert matrix.rows[2][:4] == ("outer", 0.0, 0.5, 0.5)


def test_a_damaged_prediction_is_a_note_and_in_no_matrix(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = write_predicted(tmp_path)
    (run / f"predictions/{TESTED[0]}.nii.gz").write_bytes(b"nothing")
    (found,) = confusions(results_of(tmp_path)).values()
    assert found.cases == NUM_TESTED - 1
    assert f"{TESTED[0]} is in no matrix of confusions" in caplog.text


def test_runs_without_label_maps_have_no_confusions(tmp_path: Path) -> None:
    write_small_run(tmp_path / "runs/one")
    assert confusions(results_of(tmp_path)) == {}


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("median", [TESTED[NUM_TESTED - 1 - NUM_TESTED // 2]]),
        ("worst", [TESTED[NUM_TESTED - 1 - NUM_TESTED // 2], TESTED[-1]]),
    ],
)
def test_the_viewer_shows_the_subjects_that_were_asked_for(
    tmp_path: Path, choice: str, names: list[str]
) -> None:
    write_predicted(tmp_path)
    book = viewer_subjects(results_of(tmp_path), choice)
    assert book is not None
    assert [case["name"] for case in book["cases"]] == list(dict.fromkeys(names))


def test_a_worst_subject_is_said_to_be_that_of_its_configuration(tmp_path: Path) -> None:
    write_predicted(tmp_path)
    write_predicted(tmp_path, loss="dice", dice=STEPS[::-1])
    book = viewer_subjects(results_of(tmp_path), "worst")
    assert book is not None
    titles = {case["name"]: case["title"] for case in book["cases"]}
    assert "worst of mixed · PCC, mean Dice 70.0 % over 2 configurations" in titles[TESTED[-1]]
    assert "worst of mixed · Dice," in titles[TESTED[0]]


def test_what_is_worst_everywhere_is_said_to_be(tmp_path: Path) -> None:
    for loss in ("pcc", "dice"):
        write_predicted(tmp_path, loss=loss)
    book = viewer_subjects(results_of(tmp_path), "worst")
    assert book is not None
    told = [
        case["name"] for case in book["cases"] if "worst of all configurations" in case["title"]
    ]
    assert told == [TESTED[-1]]


def test_all_subjects_come_with_truth_every_model_and_its_dice(tmp_path: Path) -> None:
    write_predicted(tmp_path)
    write_predicted(tmp_path, loss="dice", shift=2)
    book = viewer_subjects(results_of(tmp_path), "all")
    assert book is not None
    assert {case["name"] for case in book["cases"]} == set(TESTED)
    best = next(case for case in book["cases"] if case["name"] == TESTED[0])
    told = [(own["name"], own["note"]) for own in best["maps"]]
    assert told == [("truth", ""), ("mixed · PCC", "Dice 90.0 %"), ("mixed · Dice", "Dice 90.0 %")]
    runs = zlib.decompress(base64.b64decode(best["maps"][2]["runs"]))
    label, length = np.frombuffer(runs, np.uint8).reshape(-1, 2).T
    np.testing.assert_array_equal(np.repeat(label, length).reshape(SHAPE, order="F"), shifted(2))
    size = sum(len(c["scan"]) + sum(len(m["runs"]) for m in c["maps"]) for c in book["cases"])
    assert told_size(book) == f"{NUM_TESTED} subjects, {size / 1000:,.0f} kB"


def test_without_label_maps_or_wish_there_is_no_viewer(tmp_path: Path) -> None:
    write_predicted(tmp_path)
    assert viewer_subjects(results_of(tmp_path), "none") is None
    write_small_run(tmp_path / "other/runs/one")
    assert viewer_subjects(results_of(tmp_path / "other"), "all") is None


def test_a_subject_whose_scan_is_gone_is_a_note(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_predicted(tmp_path)
    (tmp_path / f"data/{TESTED[-1]}/anat/{TESTED[-1]}_T1w.nii.gz").unlink()
    book = viewer_subjects(results_of(tmp_path), "all")
    assert book is not None
    assert TESTED[-1] not in [case["name"] for case in book["cases"]]
    assert f"{TESTED[-1]} is not in the viewer" in caplog.text


def test_an_unknown_choice_of_the_viewer_is_refused() -> None:
    with pytest.raises(
        ValueError, match="viewer must be one of none, median, worst, all, got best"
    ):
        check_viewer("best")
