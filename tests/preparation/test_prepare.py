"""Every fault is one line in the table of problems, and then nothing is written."""

import csv
import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
import torch

from config import settings_of
from distorted_cohort import phantom, write_distorted_cohort, write_scan
from gaborseg.data import SegmentationData
from gaborseg.interface import UserError
from gaborseg.preparation import prepare as work
from gaborseg.scans import DataError, PreparedGrid, labels_to_native, read_scan

SHAPE = (8, 9, 10)
AFFINE = np.diag([-2.0, 2.0, 2.5, 1.0])

Fault = Callable[[Path], None]
Prepare = Callable[..., None]


def ramp(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def boxes() -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:5, 2:6, 2:7], labels[5:7, 2:6, 2:7] = 17, 10
    return labels


def write_user_cohort(root: Path) -> Path:
    for subject in ("a", "b", "c", "d"):
        write_scan(root / f"{subject}_T1w.nii.gz", ramp() + ord(subject) - ord("a"), AFFINE)
        write_scan(root / f"{subject}_seg.nii.gz", boxes(), AFFINE)
    return root


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_user_cohort(tmp_path / "scans")


@pytest.fixture
def prepare(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepare:
    def run(*, sheets: bool = False, **settings: Any) -> None:
        if not sheets:
            monkeypatch.setattr(work, "contact_sheets", lambda *_: ["nothing"])
        defaults = vars(settings_of("prepare", "input=x", "output=x"))
        given = {"input": str(source), "output": str(tmp_path / "out"), "size": 12, "processes": 0}
        given |= {"problems": str(tmp_path / "problems.csv"), "viewer": "none"}
        work.prepare_scans(SimpleNamespace(**{**defaults, **given, **settings}))

    return run


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def rewrite(path: Path, change: Callable[[bytearray], Any]) -> None:
    content = bytearray(gzip.decompress(path.read_bytes()))
    changed = change(content)
    path.write_bytes(gzip.compress(bytes(content if changed is None else changed)))


def header(path: Path, **fields: Any) -> None:
    """Change fields of a NIfTI header, whatever a library would say."""

    def change(content: bytearray) -> None:
        old = nib.Nifti1Header(bytes(content[:348]), check=False)
        for field, value in fields.items():
            old[field] = value
        content[:348] = old.binaryblock

    rewrite(path, change)


def save(voxels: np.ndarray, affine: np.ndarray = AFFINE) -> Fault:
    return lambda path: nib.save(nib.Nifti1Image(voxels, affine), path)


def at_one(voxels: np.ndarray, value: float) -> np.ndarray:
    voxels = voxels.copy()
    voxels[3, 3, 3] = value
    return voxels


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))


def pixdim(*lengths: float) -> Fault:
    return lambda path: header(path, pixdim=[1, *lengths, 0, 0, 0, 0])


def rgb(path: Path) -> None:
    voxels = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(voxels, AFFINE), path)


def two_forms(path: Path) -> None:
    image = nib.Nifti1Image(ramp(), AFFINE)
    image.set_qform(AFFINE, 1)
    image.set_sform(np.diag([2.0, 2.0, 2.5, 1.0]), 1)
    nib.save(image, path)


def singular(path: Path) -> None:
    header(path, srow_x=[2, 0, 0, 0], srow_y=[2, 0, 0, 0])


def huge(path: Path) -> None:
    header(path, dim=[3, 1000, 1000, 1000, 1, 1, 1, 1])


def huge_beyond_bounds(path: Path) -> None:
    header(path, dim=[3, 32767, 32767, 32767, 1, 1, 1, 1])


def forbidden(path: Path) -> None:
    path.chmod(0)


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent / "nothing.nii.gz")


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def twin(path: Path) -> None:
    path.with_name("b_T1w.nii").write_bytes(path.read_bytes())


def as_format(ending: str, then: Fault) -> Fault:
    def fault(path: Path) -> None:
        target = path.with_name(path.name.replace(".nii.gz", ending))
        path.unlink()
        write_scan(target, ramp(), AFFINE)
        then(target)

    return fault


def detached(path: Path) -> None:
    image = SimpleITK.GetImageFromArray(ramp())
    SimpleITK.WriteImage(image, str(path.with_suffix(".nhdr")))
    path.write_bytes(path.with_suffix(".nhdr").read_bytes())


IMAGE, LABEL = "b_T1w.nii.gz", "b_seg.nii.gz"
UNREADABLE = "is truncated or not a readable image"
FAULTS: list[tuple[str, str, Fault, str]] = [
    ("truncated gzip", IMAGE, cut, UNREADABLE),
    ("truncated label", LABEL, cut, UNREADABLE),
    ("corrupt gzip", IMAGE, flip, UNREADABLE),
    ("too few voxels", IMAGE, lambda p: rewrite(p, lambda c: c[:-9]), UNREADABLE),
    ("no gzip", IMAGE, lambda p: p.write_bytes(b"text"), UNREADABLE),
    ("empty file", IMAGE, lambda p: p.write_bytes(b""), f"{UNREADABLE}: it is empty"),
    ("wrong magic", IMAGE, lambda p: header(p, magic=b"abc"), UNREADABLE),
    ("unknown type", IMAGE, lambda p: header(p, datatype=4000), UNREADABLE),
    ("huge header", IMAGE, huge, f"{UNREADABLE}: too short for shape (1000, 1000, 1000)"),
    ("absurd header", IMAGE, huge_beyond_bounds, "must have 1 to 1073741824 voxels"),
    ("empty axis", IMAGE, lambda p: header(p, dim=[3, 8, 0, 10, 1, 1, 1, 1]), "must have 1 to"),
    ("negative axis", IMAGE, lambda p: header(p, dim=[3, 8, -9, 10, 1, 1, 1, 1]), "must have 1 to"),
    ("2-D", IMAGE, save(ramp((8, 9))), "must have 3 dimensions, got 2"),
    ("one slice", IMAGE, save(ramp((8, 9, 1))), "must have several slices, got shape (8, 9, 1)"),
    ("4-D", IMAGE, save(ramp((*SHAPE, 2))), "must have 3 dimensions, got 4"),
    ("colours", IMAGE, rgb, "must hold real numbers, got [('R', 'u1')"),
    ("complex", IMAGE, save(ramp().astype(np.complex64)), "must hold real numbers, got complex64"),
    ("NaN", IMAGE, save(at_one(ramp(), np.nan)), "must be finite, got 1 NaN or Inf"),
    ("infinity", IMAGE, save(at_one(ramp(), -np.inf)), "must be finite, got 1 NaN or Inf"),
    ("constant", IMAGE, save(np.full(SHAPE, 7, np.int16)), "must not be constant, got 7 in every"),
    ("negative spacing", IMAGE, pixdim(2, -2, 2), "must have a positive spacing, got (2, -2, 2)"),
    ("no spacing", IMAGE, pixdim(2, 0, 2), "must have a positive spacing, got (2, 0, 2)"),
    ("NaN spacing", IMAGE, pixdim(2, np.nan, 2), "must have a positive spacing, got (2, nan, 2)"),
    ("micrometres", IMAGE, save(ramp(), AFFINE * 1000), "must have voxels of 0.01 to 100 mm"),
    ("unit", IMAGE, lambda p: header(p, xyzt_units=3), "must be in millimetres, got micrometres"),
    ("singular affine", IMAGE, singular, "must have an invertible affine"),
    ("NaN affine", IMAGE, lambda p: header(p, srow_x=[np.nan] * 4), "must have an invertible"),
    ("two affines", IMAGE, two_forms, "has a qform and an sform that disagree, by up to 28 mm"),
    ("fractions", LABEL, save(at_one(boxes().astype(float), 0.5)), "must hold integers, got 0.5"),
    ("NaN labels", LABEL, save(at_one(boxes().astype(float), np.nan)), "must hold integers"),
    ("unknown id", LABEL, save(at_one(boxes(), 99)), "holds ids that labels does not know: 99"),
    ("negative id", LABEL, save(at_one(boxes().astype(np.int16), -1)), "does not know: -1"),
    ("no structure", LABEL, save(np.zeros(SHAPE, np.uint8)), "holds no structure, background"),
    ("an image as labels", LABEL, save(ramp((16, 16, 16))), "must hold labels, got 4096 different"),
    ("another shape", LABEL, save(boxes()[1:]), "must have the shape (8, 9, 10) of b_T1w.nii.gz"),
    ("another place", LABEL, save(boxes(), AFFINE + np.eye(4, k=3)), "up to 1 mm apart"),
    ("missing label", LABEL, Path.unlink, "has no label map"),
    ("missing image", IMAGE, Path.unlink, "has no T1w image"),
    ("two images", IMAGE, twin, "is not the only T1w image of sub-b"),
    ("permission", IMAGE, forbidden, "cannot be opened: Permission denied"),
    ("loop of links", IMAGE, loop, "leads to no file"),
    ("dangling link", IMAGE, dangling, "is a symbolic link that leads to no file"),
    ("folder like a file", IMAGE, folder, "is a folder, not a file"),
    ("truncated nii", IMAGE, as_format(".nii", cut), UNREADABLE),
    ("truncated mgz", IMAGE, as_format(".mgz", cut), UNREADABLE),
    ("truncated nrrd", IMAGE, as_format(".nrrd", cut), UNREADABLE),
    ("detached nrrd", IMAGE, as_format(".nrrd", detached), "must hold its voxels itself"),
]


@pytest.fixture
def honest_permissions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything; let it be refused what its owner may not read."""
    real = Path.open

    def refuse(self: Path, *arguments: Any, **options: Any) -> Any:
        if self.exists() and not self.stat().st_mode & 0o400:
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)


@pytest.mark.parametrize(
    ("file", "fault", "problem"),
    [pytest.param(*row, id=name) for name, *row in FAULTS],
)
@pytest.mark.usefixtures("honest_permissions")
def test_a_fault_is_one_line_and_nothing_is_written(
    prepare: Prepare, source: Path, tmp_path: Path, file: str, fault: Fault, problem: str
) -> None:
    fault(source / file)
    with pytest.raises(UserError, match="1 problems, see the table; nothing was written"):
        prepare(labels="freesurfer")
    (row,) = table(tmp_path / "problems.csv")
    assert row["subject"] == "sub-b"
    assert row["file"].startswith("b_")
    assert problem in row["problem"]
    assert len(row["what to do"].split()) >= 2
    assert not (tmp_path / "out").exists()


def test_all_problems_are_in_the_table(prepare: Prepare, source: Path, tmp_path: Path) -> None:
    cut(source / "a_T1w.nii.gz")
    rgb(source / "c_T1w.nii.gz")
    save(boxes().astype(float) / 2)(source / "c_seg.nii.gz")
    with pytest.raises(UserError, match="3 problems"):
        prepare()
    files = [row["file"] for row in table(tmp_path / "problems.csv")]
    assert files == ["a_T1w.nii.gz", "c_T1w.nii.gz", "c_seg.nii.gz"]


def test_the_others_go_on_if_that_is_wanted(prepare: Prepare, source: Path, tmp_path: Path) -> None:
    cut(source / "b_T1w.nii.gz")
    (source / "c_seg.nii.gz").unlink()
    prepare(skip_faulty=True)
    assert SegmentationData.from_folder(tmp_path / "out", tmp_path / "cache").source
    assert {row["subject"] for row in table(tmp_path / "out" / "excluded.csv")} == {
        "sub-b",
        "sub-c",
    }
    assert [row["subject"] for row in table(tmp_path / "out" / "scans.csv")] == ["sub-a", "sub-d"]
    shutil.copy(source / "a_T1w.nii.gz", source / "b_T1w.nii.gz")
    shutil.copy(source / "a_seg.nii.gz", source / "c_seg.nii.gz")
    prepare()
    assert not (tmp_path / "out" / "excluded.csv").exists()


def test_names_that_a_terminal_or_utf_8_refuses_end_nothing(
    prepare: Prepare, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (source / "=b[").mkdir()
    for role in ("T1w", "seg"):
        broken = os.fsencode(source) + b"/z\xff_" + role.encode() + b".nii.gz"
        os.rename(os.fsencode(source / f"a_{role}.nii.gz"), broken)
        (source / f"b_{role}.nii.gz").rename(source / f"=b[/red]_{role}.nii.gz")
    cut(source / "=b[" / "red]_T1w.nii.gz")
    prepare(skip_faulty=True)
    assert "=b[/red]_T1w.nii.gz" in capsys.readouterr().out
    assert table(tmp_path / "out" / "excluded.csv")[0]["file"] == "'=b[/red]_T1w.nii.gz"
    paths = [Path(row["T1w"]).name for row in table(tmp_path / "out" / "scans.csv")]
    assert paths == ["c_T1w.nii.gz", "d_T1w.nii.gz", r"z\udcff_T1w.nii.gz"]


def test_a_channel_may_be_called_like_a_column_of_the_table(
    prepare: Prepare, source: Path, tmp_path: Path
) -> None:
    for name in "abcd":
        (source / f"{name}_T1w.nii.gz").rename(source / f"{name}_subject.nii.gz")
    prepare()
    row = table(tmp_path / "out" / "scans.csv")[0]
    assert (row["subject"], Path(row["subject_image"]).name) == ("sub-a", "a_subject.nii.gz")


def test_nothing_is_left_if_all_are_faulty(prepare: Prepare, source: Path, tmp_path: Path) -> None:
    for path in source.iterdir():
        cut(path)
    with pytest.raises(UserError, match="no scan is left"):
        prepare(skip_faulty=True)
    assert not (tmp_path / "out").exists()


def test_a_data_set_says_what_is_in_it(prepare: Prepare, tmp_path: Path) -> None:
    prepare(sheets=True, labels="freesurfer", name="mine", licence="CC0", credit="us")
    description = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert description["size"] == [12, 12, 12]
    assert description["structures"][7] == "cerebellar_grey"
    assert description["preparation"]["labels"]["hippocampus"] == [17, 53]
    assert (description["name"], description["licence"], description["credit"]) == (
        "mine", "CC0", "us",
    )  # fmt: skip
    row = table(tmp_path / "out" / "scans.csv")[0]
    assert (row["orientation"], row["size_z"], row["spacing_z_mm"]) == ("LAS", "10", "2.5")
    assert float(row["hippocampus_mm3"]) == 3 * 4 * 5 * 10
    assert float(row["T1w_max"]) == 719
    assert (tmp_path / "out" / "contact_sheet.png").read_bytes().startswith(b"\x89PNG")


def test_the_last_lines_say_what_to_look_at_before_a_training(
    prepare: Prepare, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    prepare(labels="freesurfer", viewer="all")
    viewer = tmp_path / "out" / "viewer.html"
    assert "4 of 4 prepared subjects" in viewer.read_text(encoding="utf-8")
    size = viewer.stat().st_size / 1e6
    told = f"Look at nothing, and scroll through {viewer} ({size:.1f} MB), before you train."
    assert told in caplog.messages[-2:]


def test_a_preferred_affine_ends_the_disagreement(
    prepare: Prepare, source: Path, tmp_path: Path
) -> None:
    two_forms(source / "b_T1w.nii.gz")
    two_forms(source / "b_seg.nii.gz")
    label = nib.load(source / "b_seg.nii.gz")
    nib.save(nib.Nifti1Image(boxes(), None, label.header), source / "b_seg.nii.gz")
    for forms, orientation in (("sform", "RAS"), ("qform", "LAS")):
        prepare(forms=forms, output=str(tmp_path / forms))
        assert table(tmp_path / forms / "scans.csv")[1]["orientation"] == orientation


def test_headers_that_do_not_know_left_are_told(
    prepare: Prepare, source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for path in source.iterdir():
        header(path, qform_code=0, sform_code=0)
    prepare()
    assert "4 scans, sub-a first, do not say which side is left" in caplog.text


def test_the_same_scan_under_two_ids_is_told(
    prepare: Prepare, source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prepare()
    assert "the same scan" not in caplog.text
    (source / "e_T1w.nii.gz").write_bytes((source / "b_T1w.nii.gz").read_bytes())
    (source / "e_seg.nii.gz").write_bytes((source / "b_seg.nii.gz").read_bytes())
    prepare()
    assert "sub-b and sub-e are the same scan" in caplog.text


def test_structures_that_nobody_has_are_told(
    prepare: Prepare, caplog: pytest.LogCaptureFixture
) -> None:
    prepare(labels="freesurfer")
    assert "no label map holds cerebral_grey, third_ventricle" in caplog.text
    assert "hippocampus" not in caplog.text


def test_structures_too_small_for_the_size_are_told(
    prepare: Prepare, source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(at_one(boxes(), 53))(source / "b_seg.nii.gz")
    for _ in range(2):  # also of scans that are prepared already
        caplog.clear()
        prepare(size=8)
        assert "label_53 is too small for 8³ voxels in 1 scans, sub-b first" in caplog.text
        assert "label_17 is too small" not in caplog.text


def test_volumes_of_a_sheared_scan_are_those_of_its_voxels(
    prepare: Prepare, source: Path, tmp_path: Path
) -> None:
    sheared = AFFINE.copy()
    sheared[1, 2] = 1.5
    for path in source.iterdir():
        save(nib.load(path).get_fdata(), sheared)(path)
    prepare()
    row = table(tmp_path / "out" / "scans.csv")[0]
    assert float(row["label_17_mm3"]) == pytest.approx(3 * 4 * 5 * 10, abs=1e-3)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(".lock")
    }


def test_the_same_scans_give_the_same_bytes(prepare: Prepare, tmp_path: Path) -> None:
    prepare(output=str(tmp_path / "one"))
    prepare(output=str(tmp_path / "two"), processes=2)
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")


def test_what_was_interrupted_goes_on(
    prepare: Prepare, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(output=str(tmp_path / "whole"))
    real = work.write_subjects.__globals__["write_scan"]

    def write_scan(folder: Path, recipe: Any, case: Any) -> list[str]:
        if case.subject == "sub-c":
            (folder / "half").touch()
            raise KeyboardInterrupt
        return real(folder, recipe, case)

    monkeypatch.setitem(work.write_subjects.__globals__, "write_scan", write_scan)
    with pytest.raises(KeyboardInterrupt):
        prepare()
    there = {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()}
    assert there == {"sub-a", "sub-b"}
    with pytest.raises(DataError, match=r"dataset\.json is missing"):
        SegmentationData.from_folder(tmp_path / "out", tmp_path / "cache").prepare()
    monkeypatch.undo()
    before = (tmp_path / "out" / "sub-a" / "source.json").stat().st_mtime_ns
    prepare()
    assert (tmp_path / "out" / "sub-a" / "source.json").stat().st_mtime_ns == before
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "whole")


def test_prepared_scans_are_not_read_again(
    prepare: Prepare, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare()
    for subject in ("e", "f"):
        write_scan(source / f"{subject}_T1w.nii.gz", ramp(), AFFINE)
        write_scan(source / f"{subject}_seg.nii.gz", boxes(), AFFINE)
    read = []
    real = nib.load
    monkeypatch.setattr(nib, "load", lambda path: read.append(Path(path)) or real(path))
    prepare()
    assert {path.name[0] for path in read if path.parent == source} == {"e", "f"}
    assert len(table(tmp_path / "out" / "scans.csv")) == 6


def test_a_scan_that_has_changed_since_is_a_problem(
    prepare: Prepare, source: Path, tmp_path: Path
) -> None:
    prepare()
    before = snapshot(tmp_path / "out")
    write_scan(source / "b_T1w.nii.gz", ramp() + 1, AFFINE)
    os.utime(source / "b_T1w.nii.gz", ns=(1, 1))
    with pytest.raises(UserError, match="1 problems"):
        prepare()
    (row,) = table(tmp_path / "problems.csv")
    assert "has changed, since sub-b was prepared" in row["problem"]
    assert snapshot(tmp_path / "out") == before


@pytest.mark.parametrize("content", ["", "{", "{}", "[]"])
def test_a_damaged_record_of_a_scan_is_named_with_the_remedy(
    prepare: Prepare, tmp_path: Path, content: str
) -> None:
    prepare()
    (tmp_path / "out/sub-b/source.json").write_text(content)
    before = snapshot(tmp_path / "out")
    with pytest.raises(UserError, match=r"1 problems.* The first: .*sub-b/source\.json is damaged"):
        prepare()
    (row,) = table(tmp_path / "problems.csv")
    assert row["what to do"] == f"delete {tmp_path / 'out/sub-b'} to prepare it again"
    assert snapshot(tmp_path / "out") == before


def test_a_record_of_fewer_images_is_damaged(prepare: Prepare, tmp_path: Path) -> None:
    prepare()
    path = tmp_path / "out/sub-b/source.json"
    record = json.loads(path.read_text())
    record["inspection"]["intensities"] = []
    path.write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"sub-b/source\.json is damaged"):
        prepare()


def test_scans_without_any_structure_are_let_in_if_that_is_wanted(
    prepare: Prepare, source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_scan(source / "e_T1w.nii.gz", ramp() + 4, AFFINE)
    write_scan(source / "e_seg.nii.gz", boxes(), AFFINE)
    save(np.zeros(SHAPE, np.uint8))(source / "b_seg.nii.gz")
    prepare(empty="allow", sheets=True)
    assert "1 scans hold no structure" in caplog.text
    assert json.loads((tmp_path / "out/dataset.json").read_text())["empty"] == ["sub-b"]
    data = SegmentationData.from_folder(tmp_path / "out", tmp_path / "cache")
    data.prepare()
    assert "sub-b" in data.split.train


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 16}, r"was prepared in another way \(size: 12 -> 16\)"),
        ({"labels": "freesurfer"}, r"was prepared in another way \(labels\)"),
        ({"forms": "sform"}, r"was prepared in another way \(forms: agree -> sform\)"),
    ],
)
def test_a_data_set_is_never_filled_in_another_way(
    prepare: Prepare, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    prepare()
    before = snapshot(tmp_path / "out")
    with pytest.raises(DataError, match=message):
        prepare(**settings)
    assert snapshot(tmp_path / "out") == before


def test_a_folder_with_other_files_is_left_alone(prepare: Prepare, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").touch()
    with pytest.raises(DataError, match="output must be a new or an empty folder"):
        prepare()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 4}, "size must be an integer from 8 to 512, got 4"),
        ({"size": 100000}, "size must be an integer from 8 to 512, got 100000"),
        ({"size": "big"}, "size must be an integer from 8 to 512, got big"),
        ({"forms": "both"}, "forms must be one of agree, sform, qform, got both"),
        ({"viewer": "median"}, "viewer must be one of none, some, all, got median"),
        ({"empty": "maybe"}, "empty must be one of refuse, allow, got maybe"),
        ({"labels": "none"}, "labels must be aal, freesurfer, freesurfer_left"),
        ({"input": "nowhere"}, "input must be a folder or a csv file"),
    ],
)
def test_an_unfit_setting_is_refused(
    prepare: Prepare, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        prepare(**settings)


def test_repeated_scans_stay_in_one_part(prepare: Prepare, source: Path, tmp_path: Path) -> None:
    rows = [f"{s}{n},{s},{s}_T1w.nii.gz,{s}_seg.nii.gz" for s in "abcd" for n in (1, 2, 3)]
    manifest = source / "scans.csv"
    manifest.write_text("\n".join(["subject,participant,T1w,label", *rows]) + "\n")
    prepare(input=str(manifest))
    for split in range(5):
        data = SegmentationData.from_folder(tmp_path / "out", tmp_path / "cache", split=split)
        data.prepare()
        parts = [{name[4] for name in data.split.part(p)} for p in ("train", "validation", "test")]
        assert sorted(len(people) for people in parts) == [1, 1, 2]
        assert set.union(*parts) == set("abcd")


@pytest.mark.slow
def test_distorted_scans_come_back_where_they_were(prepare: Prepare, tmp_path: Path) -> None:
    root = write_distorted_cohort(tmp_path / "distorted", [phantom] * 8)
    prepare(input=str(root), size=64)
    for path in sorted(root.rglob("*_dseg.*")):
        truth = read_scan(path)
        subject = path.name.partition("_")[0]
        prepared = read_scan(tmp_path / "out" / subject / "anat" / f"{subject}_dseg.nii.gz")
        grid = PreparedGrid(truth.voxels.shape, truth.affine, 64)
        np.testing.assert_allclose(prepared.affine, grid.prepared_affine, atol=1e-4)
        scores = np.stack([prepared.voxels == label for label in range(4)]).astype(np.float32)
        back = labels_to_native(torch.from_numpy(scores), grid).numpy()
        assert back.shape == truth.voxels.shape
        for label in range(1, 4):
            if (truth.voxels == label).sum() > 200:
                assert dice(back == label, truth.voxels == label) > 0.95
        ball, box = (np.argwhere(prepared.voxels == label).mean(axis=0) for label in (2, 3))
        world = prepared.affine[:3, :3] @ np.stack([ball, box], axis=1) + prepared.affine[:3, 3:]
        assert world[0, 0] < -10 < 10 < world[0, 1]  # the ball is left, the box is right
        assert ball[0] < box[0]


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * (first & second).sum() / (first.sum() + second.sum())


def people_of(output: Path) -> list[dict[str, str]]:
    with (output / "participants.tsv").open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_a_table_in_the_input_tells_of_the_people(
    prepare: Prepare, source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (source / "participants.tsv").write_text("participant_id\tage\nsub-a\t30\nsub-b\t=1+1\n")
    with caplog.at_level("INFO"):
        prepare()
    assert [row["age"] for row in people_of(tmp_path / "out")] == ["30", "'=1+1", "n/a", "n/a"]
    assert "participants.tsv: age; nothing of 2 scans, sub-c first." in caplog.text


def test_a_table_of_strangers_in_the_input_is_a_note(
    prepare: Prepare, source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (source / "participants.tsv").write_text("participant_id\tage\nsub-x\t30\n")
    prepare()
    assert [*people_of(tmp_path / "out")[0]] == ["participant_id", "participant"]
    assert "note: nothing is told of the people: " in caplog.text


def test_a_table_of_strangers_that_is_given_is_refused(prepare: Prepare, tmp_path: Path) -> None:
    table = tmp_path / "ages.csv"
    table.write_text("id,age\nx,30\n")
    with pytest.raises(DataError, match=r"ages\.csv must tell of the scans, such as sub-a"):
        prepare(participants=str(table))


def test_a_table_may_tell_the_split(prepare: Prepare, tmp_path: Path) -> None:
    table = tmp_path / "parts.csv"
    table.write_text("id,split\na,train\nb,validation\nc,test\nd,train\n")
    prepare(participants=str(table))
    split = json.loads((tmp_path / "out/split.json").read_text())
    assert split == {"train": ["sub-a", "sub-d"], "validation": ["sub-b"], "test": ["sub-c"]}


def test_columns_that_somebody_has_added_stay(prepare: Prepare, tmp_path: Path) -> None:
    prepare()
    table = tmp_path / "out/participants.tsv"
    heading, *rows = table.read_text().splitlines()
    table.write_text(
        "\n".join([f"{heading}\tage", *(f"{row}\t{40 + i}" for i, row in enumerate(rows))])
    )
    (tmp_path / "sexes.csv").write_text("id,sex\na,F\n")
    prepare(participants=str(tmp_path / "sexes.csv"))
    told = [(row["age"], row["sex"]) for row in people_of(tmp_path / "out")]
    assert told == [("40", "F"), ("41", "n/a"), ("42", "n/a"), ("43", "n/a")]


def test_a_table_may_say_nothing_but_whose_scans_they_are(
    prepare: Prepare, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "who.csv").write_text("subject,participant\na,anna\nb,anna\n")
    with caplog.at_level("INFO"):
        prepare(participants=str(tmp_path / "who.csv"))
    assert [row["participant"] for row in people_of(tmp_path / "out")][:2] == ["anna", "anna"]
    assert "who.csv tells whose scans they are." in caplog.text


def test_names_of_added_columns_stay_what_they_were(prepare: Prepare, tmp_path: Path) -> None:
    (tmp_path / "odd.csv").write_text("subject,=x\na,=1\n")
    for _ in range(3):
        prepare(participants=str(tmp_path / "odd.csv"))
    assert people_of(tmp_path / "out")[0]["'=x"] == "'=1"


def test_what_is_known_of_scans_that_are_left_out_is_kept(
    prepare: Prepare, source: Path, tmp_path: Path
) -> None:
    table = tmp_path / "ages.csv"
    table.write_text("id,age\na,30\nb,31\nc,32\nd,33\n")
    prepare(participants=str(table))
    old = (tmp_path / "out/participants.tsv").read_text()
    (source / "a_T1w.nii.gz").write_bytes(b"")
    prepare(participants=str(table), skip_faulty=True)
    assert (tmp_path / "out/participants.previous.tsv").read_text() == old


def test_scans_without_a_part_are_told(
    prepare: Prepare, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = tmp_path / "parts.csv"
    table.write_text("id,split\na,train\nb,validation\nc,test\nd,n/a\n")
    prepare(participants=str(table))
    assert "1 scans, sub-d first, are in no part of the split" in caplog.text


def test_a_damaged_table_of_participants_is_not_written_over(
    prepare: Prepare, tmp_path: Path
) -> None:
    prepare()
    table = tmp_path / "out/participants.tsv"
    table.write_text("age\n40\n")
    with pytest.raises(
        DataError,
        match=r"participants\.tsv cannot be read.*a column participant_id.*mend or delete",
    ):
        prepare()
    assert table.read_text() == "age\n40\n"
