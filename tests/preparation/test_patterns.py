import logging
from pathlib import Path

import pytest

from gaborseg.preparation.discovery import Found
from gaborseg.preparation.patterns import Pattern, layouts_of
from gaborseg.preparation.survey import discover
from gaborseg.scans import DataError


def found(
    root: Path, names: str, pattern: str, label_pattern: str, channels: tuple[str, ...] = ()
) -> Found:
    """What two patterns find among empty files."""
    for name in names.split():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return discover(root, channels, layouts=layouts_of(pattern, label_pattern, (), channels))


def ids(found: Found) -> dict[str, str]:
    return {case.subject: case.participant for case in found.cases}


@pytest.mark.parametrize(
    ("pattern", "path", "fields"),
    [
        ("{subject}.nii", "a_b.nii", {"subject": "a_b"}),
        ("{subject}.nii", "x/a.nii", None),
        ("**/{subject}.nii", "x/y/a.nii", {"subject": "a"}),
        ("**/{subject}.nii", "a.nii", {"subject": "a"}),
        ("*/{subject}.nii", "x/y/a.nii", None),
        ("{subject}/{subject}-t1.nii", "a/a-t1.nii", {"subject": "a"}),
        ("{subject}/{subject}-t1.nii", "a/b-t1.nii", None),
        ("{subject}-{channel}.nii", "a-1-t1.nii", {"subject": "a-1", "channel": "t1"}),
        ("{subject:0[0-4]?}.nii", "041.nii", {"subject": "041"}),
        ("{subject:0[0-4]?}.nii", "051.nii", None),
        ("{subject:[!x]*}.nii", "x1.nii", None),
        ("scan.{subject}.nii", "scanxa.nii", None),
    ],
)
def test_a_pattern_is_a_glob_with_fields(
    pattern: str, path: str, fields: dict[str, str] | None
) -> None:
    assert Pattern("pattern", pattern).match(path) == fields


def test_channels_that_are_chosen_are_all_that_their_field_matches() -> None:
    pattern = Pattern("pattern", "{subject}_{channel}.nii", ("t1", "t1_ce"))
    assert pattern.match("a_t1_ce.nii") == {"subject": "a", "channel": "t1_ce"}
    assert pattern.match("a_t2.nii") is None


def test_accents_may_be_written_in_two_ways(tmp_path: Path) -> None:
    names = "A\u0308nne_t1.nii A\u0308nne_seg.nii"
    assert len(found(tmp_path, names, "Ä{subject}_t1.nii", "Ä{subject}_seg.nii").cases) == 1


def test_scans_are_found_in_several_folders(tmp_path: Path) -> None:
    names = "t1/a.nii t2/a.nii truth/2019/a-x.nii t1/b.nii t2/b.nii truth/2020/b-x.nii"
    patterns = ("{channel}/{subject}.nii", "truth/*/{subject}-x.nii")
    cases = found(tmp_path, names, *patterns, ("t1", "t2"))
    assert [case.subject for case in cases.cases] == ["sub-a", "sub-b"]
    assert cases.cases[0].images == (tmp_path / "t1/a.nii", tmp_path / "t2/a.nii")
    assert cases.cases[0].label == tmp_path / "truth/2019/a-x.nii"


def test_the_label_pattern_wins_where_both_match(tmp_path: Path) -> None:
    cases = found(tmp_path, "a.nii a_seg.nii", "{subject}.nii", "{subject}_seg.nii")
    assert (ids(cases), cases.problems) == ({"sub-a": "sub-a"}, ())


def test_sessions_of_a_participant_are_scans_of_one_person(tmp_path: Path) -> None:
    names = "p1_one.nii p1_one_gt.nii p1_two.nii p1_two_gt.nii"
    cases = found(tmp_path, names, "{participant}_{session}.nii", "{participant}_{session}_gt.nii")
    assert ids(cases) == {"sub-p1_ses-one": "p1", "sub-p1_ses-two": "p1"}
    assert cases.columns["sub-p1_ses-two"] == {"session": "two"}


def test_a_participants_scans_have_its_name_before_theirs(tmp_path: Path) -> None:
    names = "p1/x.nii p1/x_gt.nii p2/x.nii p2/x_gt.nii"
    cases = found(tmp_path, names, "{participant}/{subject}.nii", "{participant}/{subject}_gt.nii")
    assert ids(cases) == {"sub-p1_x": "p1", "sub-p2_x": "p2"}


def test_groups_tell_scans_apart_and_are_a_column(tmp_path: Path) -> None:
    names = "ill/1.nii ill/1-m.nii well/1.nii well/1-m.nii"
    cases = found(tmp_path, names, "{group}/{subject}.nii", "{group}/{subject}-m.nii")
    assert ids(cases) == {"sub-ill_1": "sub-ill_1", "sub-well_1": "sub-well_1"}
    assert cases.columns["sub-ill_1"] == {"group": "ill"}


def test_a_scan_without_its_label_map_is_a_problem(tmp_path: Path) -> None:
    cases = found(tmp_path, "a.nii a_seg.nii b.nii", "{subject}.nii", "{subject}_seg.nii")
    assert list(ids(cases)) == ["sub-a"]
    assert [problem.problem for problem in cases.problems] == ["has no label map"]


def test_channels_of_a_pattern_must_be_chosen(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"channels must be chosen, as in channels=\[t1\]"):
        found(tmp_path, "a-t1.nii a-t2.nii a-m.nii", "{subject}-{channel}.nii", "{subject}-m.nii")


def test_what_patterns_find_is_told_with_the_nearest_that_they_miss(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = "a_t1.nii a_seg.nii b_t1.nii b_segm.nii notes/readme.nii"
    with caplog.at_level(logging.INFO):
        found(tmp_path, names, "{subject}_t1.nii", "{subject}_seg.nii")
    assert caplog.messages == [
        "{subject}_t1.nii matches 2 images and {subject}_seg.nii 1 label map, of 5 files; not "
        "matched: 2, of which the nearest is b_segm.nii (after b_seg must come .nii, got m.nii)."
    ]


@pytest.mark.parametrize(
    ("label_pattern", "message"),
    [
        ("{subject}_glm.nii", r"a_seg\.nii \(after a_ must come glm\.nii, got seg\.nii\)"),
        ("x{subject}.nii", "it must begin with x{subject}.nii"),
        ("{subject}_se.nii", r"after a_se must come \.nii, got g\.nii"),
        ("{subject}_seg.nii.gz", r"after a_seg\.nii must come \.gz, got nothing"),
    ],
)
def test_a_pattern_that_matches_nothing_is_told_where_it_parts_from_the_nearest_file(
    tmp_path: Path, label_pattern: str, message: str
) -> None:
    with pytest.raises(DataError, match=f"0 label maps, of 2 files; not matched.*{message}"):
        found(tmp_path, "a_t1.nii a_seg.nii", "{subject}_t1.nii", label_pattern)


def test_files_in_deeper_folders_are_hinted_at(tmp_path: Path) -> None:
    hint = r"files in deeper folders would match pattern=\*\*/{subject}_t1.nii"
    with pytest.raises(DataError, match=hint):
        found(tmp_path, "x/a_t1.nii x/a_seg.nii", "{subject}_t1.nii", "{subject}_seg.nii")


def test_images_and_label_maps_of_other_scans_are_told(tmp_path: Path) -> None:
    message = "no scan has both: the images are of a1 ..., the label maps of 1 ..."
    with pytest.raises(DataError, match=message):
        found(tmp_path, "t1/a1.nii seg/a1.nii", "t1/{subject}.nii", "seg/a{subject}.nii")


@pytest.mark.parametrize(
    ("pattern", "label_pattern", "message"),
    [
        ("{subject}.nii", None, "must be given together, got no label_pattern"),
        (None, "{subject}.nii", "must be given together, got no pattern"),
        ("{subjct}.nii", "{subject}.nii", "pattern may have the fields group, .*, got {subjct} in"),
        ("../{subject}.nii", "{subject}_m.nii", "pattern must lead from input into its folders"),
        ("/x/{subject}.nii", "{subject}_m.nii", "pattern must lead from input into its folders"),
        ("{subject:[z-a]}.nii", "{subject}_m.nii", "pattern must be a glob, got"),
        ("scan.nii", "map.nii", "must identify a scan by the same fields, {subject} or"),
        ("{subject}_{session}.nii", "{subject}_m.nii", "must identify a scan by the same fields"),
    ],
)
def test_an_unfit_pattern_is_refused(
    pattern: str | None, label_pattern: str | None, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        layouts_of(pattern, label_pattern, (), ())


def test_several_channels_need_their_field() -> None:
    with pytest.raises(DataError, match=r"pattern must have {channel} for the 2 channels t1, t2"):
        layouts_of("{subject}.nii", "{subject}_m.nii", (), ("t1", "t2"))


def test_a_pattern_goes_with_a_folder(tmp_path: Path) -> None:
    (tmp_path / "scans.csv").touch()
    with pytest.raises(DataError, match="input must be a folder for a pattern or a preset"):
        discover(tmp_path / "scans.csv", layouts=layouts_of("{subject}.a", "{subject}.b", (), ()))


def test_the_layout_that_finds_most_scans_is_taken(tmp_path: Path) -> None:
    for name in ("a_x.nii", "a_m.nii", "b_y.nii", "b_m.nii", "c_y.nii", "c_m.nii"):
        (tmp_path / name).touch()
    images = ("{subject}_x.nii", "{subject}_y.nii")
    pairs = [{"pattern": one, "label_pattern": "{subject}_m.nii"} for one in images]
    cases = discover(tmp_path, layouts=layouts_of(None, None, pairs, ()))
    assert list(ids(cases)) == ["sub-b", "sub-c"]


def test_links_that_share_a_template_are_problems(tmp_path: Path) -> None:
    for name in ("a.nii", "b.nii", "atlas_m.nii"):
        (tmp_path / name).touch()
    for name in ("a_m.nii", "b_m.nii"):
        (tmp_path / name).symlink_to(tmp_path / "atlas_m.nii")
    cases = found(tmp_path, "", "{subject:[ab]}.nii", "{subject:[ab]}_m.nii")
    assert cases.cases == ()
    assert all("is the same file as" in problem.problem for problem in cases.problems)
