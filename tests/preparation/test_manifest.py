import unicodedata
from pathlib import Path

import pytest

from gaborseg.data import Case
from gaborseg.preparation.discovery import Found
from gaborseg.preparation.manifest import with_table_of_people
from gaborseg.preparation.survey import discover
from gaborseg.scans import DataError


def manifest(root: Path, text: str, encoding: str = "utf-8") -> Path:
    path = root / "scans.csv"
    path.write_text(text, encoding=encoding)
    return path


def told(found: Found) -> list[str]:
    return [f"{problem.file} {problem.problem}" for problem in found.problems]


def test_rows_become_cases_with_people(tmp_path: Path) -> None:
    path = manifest(
        tmp_path,
        "subject,participant,age,T1w,FLAIR,label\n"
        "anna 1,anna,40,a/1.nii.gz,a/1f.mgz,l/1.nrrd\n"
        "anna 2,anna,41,a/2.nii.gz,a/2f.mgz,l/2.nrrd\n"
        "bo,,39,b.nii.gz,bf.mgz,l/b.nrrd\n",
    )
    found = discover(path)
    assert found.channels == ("T1w", "FLAIR")
    assert [case.subject for case in found.cases] == ["sub-anna-1", "sub-anna-2", "sub-bo"]
    assert [case.participant for case in found.cases] == ["anna", "anna", "sub-bo"]
    assert found.cases[0].images == (tmp_path / "a/1.nii.gz", tmp_path / "a/1f.mgz")
    assert found.cases[0].label == tmp_path / "l/1.nrrd"


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_spreadsheets_csv_is_understood(tmp_path: Path, delimiter: str) -> None:
    lines = ["subject,image,label", "ä,i.nii,l.nii", ",,", ""]
    text = "\r\n".join(lines).replace(",", delimiter)
    found = discover(manifest(tmp_path, text, encoding="utf-8-sig"))
    assert [case.subject for case in found.cases] == ["sub-ä"]


def test_channels_choose_columns(tmp_path: Path) -> None:
    path = manifest(tmp_path, "subject,T1w,T2w,label\na,1.nii,2.nii,l.nii\n")
    found = discover(path, channels=["T2w"])
    assert found.cases[0].images == (tmp_path / "2.nii",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("subject,T1w\na,1.nii\n", "label is missing among subject, T1w"),
        ("T1w,label\n1.nii,l.nii\n", "subject is missing among T1w, label"),
        ("subject,label\na,l.nii\n", "an image is missing among subject, label"),
        ("", "must have columns subject, label"),
    ],
)
def test_a_missing_column_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        discover(manifest(tmp_path, text))


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("b,../b.nii,l.nii", "../b.nii leads out of {root}"),
        ("b,/etc/b.nii,l.nii", "/etc/b.nii leads out of {root}"),
        ("b,x/../../b.nii,l.nii", "x/../../b.nii leads out of {root}"),
        ("b,b.dcm,l.nii", "{root}/b.dcm is in no format that is read"),
        ("b,,l.nii", "{root}/scans.csv names no T1w for b"),
        ("b,b.nii", "{root}/scans.csv names no label for b"),
        (",b.nii,l.nii", "{root}/scans.csv has a row without subject: ['', 'b.nii', 'l.nii']"),
        ("A,b.nii,l.nii", "{root}/b.nii must have an id of its own, got sub-A twice"),
    ],
)
def test_an_unfit_row_is_told(tmp_path: Path, row: str, problem: str) -> None:
    found = discover(manifest(tmp_path, f"subject,T1w,label\na,a.nii,l.nii\n{row}\n"))
    assert problem.format(root=tmp_path) in told(found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("subject,T1w,T1w,label\na,1.nii,2.nii,l.nii\n", "each column once, got T1w twice"),
        ("subject,T1w,label\na,x,1.nii,l.nii\n", "line 2 must have a cell for each column, got"),
    ],
)
def test_cells_that_cannot_be_told_apart_are_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(DataError, match=rf"scans\.csv .*{message}"):
        discover(manifest(tmp_path, text))


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_csv_may_come_from_any_system(tmp_path: Path, encoding: str) -> None:
    found = discover(manifest(tmp_path, "subject,T1w,label\nä,1.nii,l.nii\n", encoding))
    assert [case.subject for case in found.cases] == ["sub-ä"]


def test_people_without_a_name_are_not_one_person(tmp_path: Path) -> None:
    rows = "a,n/a,1.nii,1l.nii\nb,n/a,2.nii,2l.nii\n"
    found = discover(manifest(tmp_path, f"subject,participant,T1w,label\n{rows}"))
    assert [case.participant for case in found.cases] == ["sub-a", "sub-b"]


@pytest.mark.parametrize("kind", ["link", "twice"])
def test_people_share_no_files(tmp_path: Path, kind: str) -> None:
    (tmp_path / "l.nii").touch()
    (tmp_path / "k.nii").symlink_to(tmp_path / "l.nii")
    other = "k.nii" if kind == "link" else "l.nii"
    found = discover(manifest(tmp_path, f"subject,T1w,label\na,1.nii,l.nii\nb,2.nii,{other}\n"))
    assert found.cases == ()
    assert f"{tmp_path}/l.nii is the same file as {tmp_path}/{other}" in told(found)


def test_a_path_may_be_absolute_inside_the_folder(tmp_path: Path) -> None:
    path = manifest(tmp_path, f"subject,T1w,label\na,{tmp_path}/x/a.nii,l.nii\n")
    assert discover(path).problems == ()


def test_columns_without_files_are_told_of_the_subject(tmp_path: Path) -> None:
    path = manifest(
        tmp_path,
        "subject,age,split,T1w,T2w,label\na,40,Training,1.nii,2.nii,l.nii\nb,,,3.nii,4.nii,m.nii\n",
    )
    found = discover(path, channels=["T1w"])
    assert found.columns == {"sub-a": {"age": "40", "split": "train"}, "sub-b": {}}


def test_a_split_of_another_name_is_refused(tmp_path: Path) -> None:
    path = manifest(tmp_path, "subject,split,T1w,label\na,fold 3,1.nii,l.nii\n")
    with pytest.raises(DataError, match=r"scans\.csv: split must begin with one of .* got fold 3"):
        discover(path)


def three_scans_of_two_people() -> Found:
    cases = [("sub-01_ses-1", "sub-01"), ("sub-01_ses-2", "sub-01"), ("sub-02", "sub-02")]
    return Found(
        tuple(Case(s, (Path(s),), Path("l"), person) for s, person in cases),
        ("image",),
        (),
        {"sub-02": {"session": "1", "age": "unknown"}},
    )


def people(root: Path, text: str) -> Found:
    path = root / "people.csv"
    path.write_text(text)
    return with_table_of_people(three_scans_of_two_people(), path)


def test_a_row_of_a_person_tells_of_all_scans(tmp_path: Path) -> None:
    found = people(
        tmp_path, "participant_id\tage\tsex\nsub-02\t30\t\nsub-01\t71\tF\nsub-09\t5\tM\n"
    )
    assert found.columns == {
        "sub-01_ses-1": {"age": "71", "sex": "F"},
        "sub-01_ses-2": {"age": "71", "sex": "F"},
        "sub-02": {"session": "1", "age": "30"},
    }


def test_the_row_of_a_scan_adds_to_that_of_its_person(tmp_path: Path) -> None:
    found = people(
        tmp_path, "subject,age,site\n01,71,\n01_ses-2,,B\n,5,\n,6,\nn/a,7,\nn/a,8,\n02,n/a,C\n"
    )
    assert [*found.columns.values()] == [
        {"age": "71"},
        {"age": "71", "site": "B"},
        {"session": "1", "age": "unknown", "site": "C"},
    ]


def test_an_id_of_bids_in_a_csv_of_cases_is_no_column(tmp_path: Path) -> None:
    text = "\nparticipant_id;subject;T1w;label\nsub-a;a;1.nii;l.nii\n"
    assert discover(manifest(tmp_path, text)).columns == {"sub-a": {}}


def test_a_table_of_people_hides_no_problem_of_the_scans(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("id,age\na,5\n")
    none = Found((), ("image",), ())
    assert with_table_of_people(none, tmp_path / "people.csv") == none


def test_a_row_of_a_scan_comes_before_one_of_its_person(tmp_path: Path) -> None:
    found = people(tmp_path, "scan,age\n01,71\n01_ses-2,73\n")
    assert [told.get("age") for told in found.columns.values()] == ["71", "73", "unknown"]


def test_a_table_may_say_whose_scans_they_are(tmp_path: Path) -> None:
    found = people(tmp_path, "subject,participant\n01_ses-1,anna\n01_ses-2,n/a\n02,anna\n")
    assert [case.participant for case in found.cases] == ["anna", "sub-01", "anna"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "id,age\n7,30\n8,31\n",
            "tell of the scans, such as sub-01_ses-1: its column id names sub-7",
        ),
        ("id,age\n", "its column id names nobody"),
        ("", "its column participant_id names nobody"),
        ("id,age\n02,30\nsub-02,31\n", "must name each scan or person once, got sub-02 twice"),
        ("id,age\n02,30,31\n", "line 2 must have a cell for each column"),
        ("id,split\n02,half\n", "split must begin with one of tr, va, te, ts, got half"),
    ],
)
def test_a_table_that_tells_nothing_sure_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(DataError, match=rf"people\.csv.*{message}"):
        people(tmp_path, text)


def test_a_person_has_one_name_with_and_without_sub(tmp_path: Path) -> None:
    lines = ["subject,participant,image,label"]
    lines += [f"{s},{p},{s}.nii,{s}l.nii" for s, p in (("anna", ""), ("anna-2", "anna"))]
    found = discover(manifest(tmp_path, "\n".join([*lines, ""])))
    assert [case.participant for case in found.cases] == ["anna", "anna"]


def test_a_table_names_a_person_with_and_without_sub(tmp_path: Path) -> None:
    cases = tuple(Case(f"sub-{s}", (), Path(s), f"sub-{s}") for s in ("anna", "anna-2"))
    (tmp_path / "people.csv").write_text("subject,participant,age\nanna,,40\nanna-2,anna,41\n")
    found = with_table_of_people(Found(cases, ("T1w",), ()), tmp_path / "people.csv")
    assert [case.participant for case in found.cases] == ["anna", "anna"]


def test_a_line_for_excel_is_no_row(tmp_path: Path) -> None:
    found = discover(manifest(tmp_path, "sep=;\nsubject;image;label\na;i.nii;l.nii\n"))
    assert [case.subject for case in found.cases] == ["sub-a"]


def test_accents_are_written_in_one_way(tmp_path: Path) -> None:
    name = unicodedata.normalize("NFD", "Zoë")
    found = discover(manifest(tmp_path, f"subject,image,label\n{name},i.nii,l.nii\n"))
    assert [case.subject for case in found.cases] == ["sub-Zoë"]
