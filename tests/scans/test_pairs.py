"""Headers with their voxels beside them: NIfTI and Analyze pairs, MetaImage."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from distorted_cohort import Grid, random_grid, write_scan
from gaborseg.scans import ScanError, files_of_scan, open_scan, read_scan, scan_files
from gaborseg.scans.files import read_volumes

VOXELS = np.random.default_rng(0).integers(0, 99, (6, 7, 8)).astype(np.int16)


@pytest.fixture
def grid() -> Grid:
    return random_grid(np.random.default_rng(3), "PIR", (20, 24, 30), (1, 3), (4, 30))


@pytest.mark.parametrize("ending", [".hdr", ".img", ".mha", ".mhd"])
def test_every_format_gives_the_same_scan(tmp_path: Path, grid: Grid, ending: str) -> None:
    voxels = np.random.default_rng(0).integers(0, 99, grid.shape).astype(np.int16)
    write_scan(tmp_path / f"scan{ending}", voxels, grid.affine)
    scan = read_scan(tmp_path / f"scan{ending}")
    np.testing.assert_array_equal(scan.voxels, voxels)
    np.testing.assert_allclose(scan.affine, grid.affine, atol=1e-4)
    assert scan.placement.oriented


def write_analyze(folder: Path, voxels: np.ndarray = VOXELS) -> Path:
    image = nib.AnalyzeImage(voxels, np.diag([-2.0, 3.0, 4.0, 1.0]))
    nib.save(image, folder / "a.hdr")
    return folder / "a.hdr"


def test_analyze_does_not_know_left_from_right(tmp_path: Path) -> None:
    scan = read_scan(write_analyze(tmp_path))
    np.testing.assert_array_equal(scan.voxels, VOXELS)
    assert scan.placement.spacing == (2, 3, 4)
    assert not scan.placement.oriented


def pack(path: Path, name: str = "a.img.gz") -> Path:
    """Compress the voxels of a header."""
    voxels = path.with_suffix(".img")
    path.with_name(name).write_bytes(gzip.compress(voxels.read_bytes()))
    voxels.unlink()
    return path


def test_voxels_may_be_compressed(tmp_path: Path) -> None:
    path = pack(write_analyze(tmp_path))
    np.testing.assert_array_equal(read_scan(path).voxels, VOXELS)
    assert [part.name for part in files_of_scan(path)] == ["a.hdr", "a.img.gz"]
    assert [found.name for found in scan_files(tmp_path, None, [])] == ["a.hdr"]


def test_compressed_voxels_are_named_by_their_header(tmp_path: Path) -> None:
    path = pack(write_analyze(tmp_path)).with_name("a.img.gz")
    with pytest.raises(ScanError, match=r"a\.img\.gz holds the voxels of a pair alone") as error:
        read_scan(path)
    assert error.value.remedy == "name its header, a.hdr"


def test_voxels_that_are_not_compressed_win(tmp_path: Path) -> None:
    path = pack(write_analyze(tmp_path))
    write_analyze(tmp_path, VOXELS + 1)
    np.testing.assert_array_equal(read_scan(path).voxels, VOXELS + 1)


def bomb(path: Path) -> None:
    path.write_bytes(gzip.compress(bytes(2**24)))


def unpacked(path: Path) -> None:
    path.write_bytes(gzip.decompress(path.read_bytes()))


def beyond_reach(path: Path) -> None:
    header = nib.Spm2AnalyzeHeader(path.read_bytes()[:348], check=False)
    header["dim"] = [3, 900, 900, 900, 1, 1, 1, 1]
    path.write_bytes(header.binaryblock)


@pytest.mark.parametrize(
    ("name", "fault", "problem"),
    [
        ("a.img.gz", lambda path: cut(path), "is truncated or not a readable image"),
        ("a.img.gz", unpacked, "is truncated or not a readable image"),
        ("a.img.gz", bomb, "it holds more than its header promises"),
        ("a.img.gz", lambda path: link(path), "must have its voxels beside it, got a link, a.img"),
        ("a.hdr", beyond_reach, "too short for shape (900, 900, 900)"),
    ],
)
def test_a_fault_of_compressed_voxels_is_one_line(
    tmp_path: Path, name: str, fault: Callable[[Path], object], problem: str
) -> None:
    path = pack(write_analyze(tmp_path))
    fault(tmp_path / name)
    with pytest.raises(ScanError) as error:
        read_scan(path)
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


def test_the_mat_file_of_spm_is_not_passed_over(tmp_path: Path) -> None:
    path = write_analyze(tmp_path)
    path.with_suffix(".mat").write_bytes(b"")
    with pytest.raises(ScanError, match=r"has its place in a\.mat, which is not read"):
        open_scan(path)


def test_a_pair_is_one_scan(tmp_path: Path) -> None:
    write_analyze(tmp_path)
    write_metaimage(tmp_path, ".mhd")
    (tmp_path / "alone.img").touch()
    found = [path.name for path in scan_files(tmp_path, None, [])]
    assert found == ["a.hdr", "alone.img", "b.mhd"]
    assert [path.name for path in files_of_scan(tmp_path / "b.mhd")] == ["b.mhd", "b.raw"]


@pytest.mark.parametrize(("kept", "missing"), [("a.hdr", "a.img"), ("a.img", "a.hdr")])
def test_the_other_half_of_a_pair_is_named(tmp_path: Path, kept: str, missing: str) -> None:
    write_analyze(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(ScanError, match=rf"{missing} is missing"):
        open_scan(tmp_path / kept)


def write_metaimage(folder: Path, ending: str = ".mha", *, compress: bool = False) -> Path:
    path = folder / f"b{ending}"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(VOXELS.T), str(path), compress)
    return path


@pytest.mark.parametrize("ending", [".mha", ".mhd"])
@pytest.mark.parametrize("compress", [False, True])
def test_metaimages_may_be_compressed(tmp_path: Path, ending: str, compress: bool) -> None:
    path = write_metaimage(tmp_path, ending, compress=compress)
    np.testing.assert_array_equal(read_scan(path).voxels, VOXELS)


def change(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def link(path: Path) -> None:
    path.rename(path.with_suffix(".elsewhere"))
    path.symlink_to(path.with_suffix(".elsewhere"))


def hole(path: Path) -> None:
    with path.open("ab") as file:
        file.truncate(2**40)


DATA = b"ElementDataFile = LOCAL"
FILE = b"ElementDataFile = b.raw"
NAMED = "must name its voxels once"
FAULTS: list[tuple[str, str, str, Callable[[Path], object], str]] = [
    ("cut .img", "a.hdr", "a.img", cut, "is truncated or not a readable image"),
    ("cut .hdr", "a.hdr", "a.hdr", lambda p: p.write_bytes(p.read_bytes()[:99]), "is truncated"),
    ("empty .img", "a.hdr", "a.img", lambda p: p.write_bytes(b""), "it is empty"),
    ("linked .img", "a.hdr", "a.img", link, "must have its voxels beside it, got a link, a.img"),
    ("huge .hdr", "a.hdr", "a.hdr", hole, "must have a header of at most 1048576 bytes"),
    ("cut .mha", "b.mha", "b.mha", cut, "is truncated or not a readable image"),
    ("cut .raw", "b.mhd", "b.raw", cut, "is truncated or not a readable image"),
    ("missing .raw", "b.mhd", "b.raw", Path.unlink, "is missing"),
    ("linked .raw", "b.mhd", "b.raw", link, "must have its voxels beside it, got a link, b.raw"),
    ("huge .mha", "b.mha", "b.mha",
     lambda p: change(p, b"DimSize = 6 7 8", b"DimSize = 9999 999 9"), "too short for shape"),
    ("many voxels", "b.mha", "b.mha",
     lambda p: change(p, b"DimSize = 6 7 8", b"DimSize = 99999 9999 999"), "must have 1 to"),
    ("another folder", "b.mhd", "b.mhd",
     lambda p: change(p, FILE, b"ElementDataFile = ../b.raw"), "in one file beside it, got '../b"),
    ("any file", "b.mhd", "b.mhd",
     lambda p: change(p, FILE, b"ElementDataFile = /etc/passwd"), "got '/etc/passwd'"),
    ("list of files", "b.mhd", "b.mhd",
     lambda p: change(p, FILE, b"ElementDataFile = LIST"), "got 'LIST'"),
    ("pattern", "b.mhd", "b.mhd",
     lambda p: change(p, FILE, b"ElementDataFile = b%d.raw 1 2 1"), "got 'b%d.raw 1 2 1'"),
    ("no data file", "b.mhd", "b.mhd", lambda p: change(p, FILE, b""), NAMED),
    ("two data files", "b.mha", "b.mha",
     lambda p: change(p, DATA, DATA + b"\nElementDataFile = /etc/passwd"), NAMED),
    ("one in a comment", "b.mha", "b.mha",
     lambda p: change(p, DATA, b"Comment = elementdatafile = b\nElementDataFile = x"), NAMED),
    ("in other letters", "b.mha", "b.mha",
     lambda p: change(p, DATA, b"elementdatafile = LOCAL"), NAMED),
    ("compressed bytes", "b.mha", "b.mha",
     lambda p: change(p, DATA, b"CompressedDataSize = 9999999999\n" + DATA), "promises more byte"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("scan", "file", "fault", "problem"), [pytest.param(*row, id=name) for name, *row in FAULTS]
)
def test_a_fault_is_one_line(
    tmp_path: Path, scan: str, file: str, fault: Callable[[Path], object], problem: str
) -> None:
    write_analyze(tmp_path)
    write_metaimage(tmp_path, ".mhd" if scan == "b.mhd" else ".mha")
    fault(tmp_path / file)
    with pytest.raises(ScanError) as error:
        read_scan(tmp_path / scan)
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


def test_pipes_are_refused_without_waiting(tmp_path: Path) -> None:
    for name in ("a.mhd", "b.mha", "c.hdr"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(ScanError, match=r"is not a regular file|is missing"):
            open_scan(tmp_path / name)


@pytest.mark.parametrize("ending", [".nii.gz", ".mha", ".nrrd"])
def test_volumes_of_four_dimensions_are_read_in_order(tmp_path: Path, ending: str) -> None:
    voxels = np.stack([VOXELS, VOXELS + 100], axis=-1)
    path = tmp_path / f"a{ending}"
    if ending == ".nii.gz":
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
    else:
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(voxels.T, isVector=False), str(path))
    first, second = read_volumes(path, 2)
    np.testing.assert_array_equal(first.voxels, VOXELS)
    np.testing.assert_array_equal(second.voxels, VOXELS + 100)
    with pytest.raises(ScanError, match="must have 3 volumes, got shape"):
        read_volumes(path, 3)
