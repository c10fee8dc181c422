import csv
import json
import math
from pathlib import Path

import pytest

from gaborseg.inference.inputs import ScanFiles
from gaborseg.inference.results import SOURCE, Results, digest
from warm import Command

RECORD = {"models": ["abc"], "patch_size": None}


def results(folder: Path, record: dict | None = None, **options: bool) -> Results:
    return Results(folder, ["egg", "ball"], record or RECORD, **options)


@pytest.fixture
def scan(tmp_path: Path) -> ScanFiles:
    path = tmp_path / "in" / "s.nii.gz"
    path.parent.mkdir()
    path.write_bytes(b"scan")
    return ScanFiles("deep/s", (path,))


def finish(here: Results, scan: ScanFiles, content: str = "") -> None:
    """Keep results of a scan whose files have the given content."""
    values = {"problem": "", "seconds": 1.26, "confidence": math.nan, SOURCE: digest(*scan.files)}
    made = {kind: scan.files[0].parent / f"made_{kind}" for kind in here.kinds}
    for path in made.values():
        path.write_text(content)
    here.keep(scan, made, values, {"egg": 12.0, "ball": 3.0})


def test_the_table_has_a_row_a_scan_and_a_column_a_structure(
    tmp_path: Path, scan: ScanFiles
) -> None:
    here = results(tmp_path / "out")
    here.add_problem(ScanFiles("e"), "too short")
    finish(here, scan)
    with (tmp_path / "out" / "volumes.csv").open() as file:
        first, second = csv.DictReader(file)
    assert (first["scan"], first["seconds"], first["confidence"]) == ("deep/s", "1.3", "")
    assert (first["egg"], first["ball"]) == ("12.00", "3.00")
    assert (second["problem"], second["egg"]) == ("too short", "")


def test_a_table_with_a_row_that_names_no_scan_is_refused(tmp_path: Path, scan: ScanFiles) -> None:
    finish(results(tmp_path / "out"), scan)
    table = tmp_path / "out" / "volumes.csv"
    with table.open() as file:
        (row,) = csv.DictReader(file)
    columns = [*(name for name in row if name != "scan"), "scan"]  # as a spreadsheet may sort them
    table.write_text(f"{','.join(columns)}\n{','.join(row[name] for name in columns[:2])}\n")
    with pytest.raises(FileExistsError, match="is damaged, a row names no scan"):
        results(tmp_path / "out")


def test_a_scan_is_done_when_row_and_files_are_there(tmp_path: Path, scan: ScanFiles) -> None:
    here = results(tmp_path / "out")
    assert here.work_on(scan).write == {"labels": tmp_path / "out" / "deep" / "s_dseg.nii.gz"}
    finish(here, scan)
    assert not results(tmp_path / "out").work_on(scan).write
    assert not results(tmp_path / "out", overwrite=True).work_on(scan).write


def test_only_what_is_missing_is_written(tmp_path: Path, scan: ScanFiles) -> None:
    finish(results(tmp_path / "out"), scan)
    for overwrite in (False, True):
        more = results(tmp_path / "out", overlay=True, overwrite=overwrite).work_on(scan)
        assert (set(more.write), more.remove) == ({"overlay"}, ())


def test_a_foreign_file_is_in_the_way(tmp_path: Path, scan: ScanFiles) -> None:
    here = results(tmp_path / "out")
    foreign = tmp_path / "out" / "deep" / "s_dseg.nii.gz"
    foreign.parent.mkdir()
    foreign.touch()
    with pytest.raises(FileExistsError, match="is in the way; overwrite=true replaces it"):
        here.work_on(scan)
    assert results(tmp_path / "out", overwrite=True).work_on(scan).remove == (foreign,)


def test_results_are_not_written_through_a_link(tmp_path: Path, scan: ScanFiles) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "deep").symlink_to(tmp_path / "in")
    with pytest.raises(FileExistsError, match=r"deep is a link, .* remove it"):
        results(tmp_path / "out", overwrite=True).work_on(scan)


def test_another_scan_of_the_name_is_told(tmp_path: Path, scan: ScanFiles) -> None:
    here = results(tmp_path / "out")
    finish(here, scan)
    scan.files[0].write_bytes(b"changed")
    with pytest.raises(FileExistsError, match="is of another scan"):
        here.work_on(scan)


def test_results_of_other_models_are_replaced_with_all_that_belongs_to_them(
    tmp_path: Path, scan: ScanFiles
) -> None:
    finish(results(tmp_path / "out", overlay=True), scan)
    other = RECORD | {"models": ["def"]}
    work = results(tmp_path / "out", other, overwrite=True).work_on(scan)
    assert set(work.write) == {"labels"}
    assert {path.name for path in work.remove} == {"s_dseg.nii.gz", "s_overlay.png"}


def test_an_interrupted_overwriting_leaves_no_results_under_another_name(
    tmp_path: Path, scan: ScanFiles
) -> None:
    finish(results(tmp_path / "out"), scan)
    other = RECORD | {"models": ["def"]}
    results(tmp_path / "out", other, overwrite=True)  # and no more
    with pytest.raises(FileExistsError, match="is of other models or settings; overwrite=true"):
        results(tmp_path / "out", other).work_on(scan)


def test_a_problem_does_not_replace_the_row_of_a_label_map(tmp_path: Path, scan: ScanFiles) -> None:
    here = results(tmp_path / "out")
    here.add_problem(scan, "unreadable")
    assert here.rows()[scan.name]["problem"] == "unreadable"
    finish(here, scan)
    here.add_problem(scan, "unreadable")
    assert here.rows()[scan.name]["egg"] == "12.00"


WRITER = """
import sys
from pathlib import Path
from gaborseg.inference.inputs import ScanFiles
from gaborseg.inference.results import Results
results = Results(Path(sys.argv[1]), ["egg", "ball"], {"models": ["abc"], "patch_size": None})
while not Path(sys.argv[1], "go").exists():
    pass
for number in range(20):
    results.add_problem(ScanFiles(f"{sys.argv[2]}-{number}"), "unreadable")
"""


@pytest.mark.slow
def test_commands_that_write_at_once_lose_no_row(tmp_path: Path) -> None:
    writers = [Command("-c", WRITER, str(tmp_path), name) for name in "abc"]
    (tmp_path / "go").touch()
    assert [writer.wait().returncode for writer in writers] == [0, 0, 0]
    names = {f"{name}-{number}" for name in "abc" for number in range(20)}
    assert results(tmp_path).rows().keys() == names


def test_what_another_command_has_kept_of_the_same_scan_stays(
    tmp_path: Path, scan: ScanFiles
) -> None:
    first, second = results(tmp_path / "out"), results(tmp_path / "out")
    finish(first, scan, "first")
    finish(second, scan, "second")
    assert first.files_of(scan)["labels"].read_text() == "first"


def test_another_scan_of_the_name_that_is_kept_meanwhile_is_told(
    tmp_path: Path, scan: ScanFiles
) -> None:
    first, second = results(tmp_path / "out"), results(tmp_path / "out")
    finish(first, scan, "first")
    scan.files[0].write_bytes(b"changed")
    with pytest.raises(FileExistsError, match="is of another scan"):
        finish(second, scan, "second")
    assert first.files_of(scan)["labels"].read_text() == "first"


def test_a_command_whose_folder_others_have_taken_over_keeps_nothing(
    tmp_path: Path, scan: ScanFiles
) -> None:
    here = results(tmp_path / "out")
    results(tmp_path / "out", RECORD | {"models": ["def"]}, overwrite=True)
    with pytest.raises(FileExistsError, match=r"holds results with models \['def'\], not"):
        finish(here, scan)
    assert not here.files_of(scan)["labels"].exists()


@pytest.mark.parametrize("mine", ["patient,liver\n1,2\n", ""])
@pytest.mark.parametrize("recorded", [False, True])
def test_a_table_that_is_not_ours_is_left_alone(mine: str, recorded: bool, tmp_path: Path) -> None:
    if recorded:
        results(tmp_path)
    (tmp_path / "volumes.csv").write_text(mine)
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match=r"is no table of gaborseg predict"):
            results(tmp_path, overwrite=overwrite)
    assert (tmp_path / "volumes.csv").read_text() == mine


def test_folders_of_before_histograms_were_matched_go_on_without(tmp_path: Path) -> None:
    results(tmp_path)
    results(tmp_path)
    with pytest.raises(FileExistsError, match="with match_histograms never, not auto"):
        results(tmp_path, RECORD | {"match_histograms": "auto"})


def test_matched_results_do_not_go_on_without(tmp_path: Path) -> None:
    results(tmp_path, RECORD | {"match_histograms": "auto"})
    with pytest.raises(FileExistsError, match="with match_histograms auto, not never"):
        results(tmp_path)


def test_what_decides_the_results_may_not_change(tmp_path: Path) -> None:
    results(tmp_path)
    assert json.loads((tmp_path / "predict.json").read_text()) == RECORD
    results(tmp_path)
    other = RECORD | {"patch_size": 32}
    with pytest.raises(FileExistsError, match="holds results with patch_size None, not 32"):
        results(tmp_path, other)
    results(tmp_path, other, overwrite=True)
    assert json.loads((tmp_path / "predict.json").read_text()) == other


def test_a_digest_tells_contents_and_their_number_apart(tmp_path: Path) -> None:
    for name, content in (("a", b"12"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (tmp_path / name for name in "abc")
    assert digest(a) != digest(b, c) != digest(c, b)
    assert digest(a) == digest(a)


def test_structures_called_like_columns_have_columns_of_their_own(tmp_path: Path) -> None:
    here = Results(tmp_path / "out", ["scan", "scan_mm3", "=x", "problem"], RECORD)
    here._add(
        "@a", {"problem": "", "warnings": ""}, {"scan": 1, "scan_mm3": 2, "=x": 3, "problem": 4}
    )
    with (tmp_path / "out" / "volumes.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["scan"], row["problem"]) == ("'@a", "")
    found = [row[name] for name in ("scan_mm3_mm3", "scan_mm3", "'=x", "problem_mm3")]
    assert found == ["1.00", "2.00", "3.00", "4.00"]
    assert list(here.rows()) == ["@a"]
