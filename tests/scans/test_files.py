import gzip
import os
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from distorted_cohort import Grid, random_grid, write_scan
from gaborseg.scans import ScanError, is_scan, open_scan, read_scan


@pytest.fixture
def grid() -> Grid:
    return random_grid(np.random.default_rng(3), "PIR", (20, 24, 30), (1, 3), (4, 30))


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".mgz", ".mgh", ".nrrd", ".NII.GZ"])
def test_every_format_gives_the_same_scan(tmp_path: Path, grid: Grid, ending: str) -> None:
    voxels = np.random.default_rng(0).integers(0, 99, grid.shape).astype(np.int16)
    path = tmp_path / f"scan{ending.lower()}"
    write_scan(path, voxels, grid.affine)
    path = path.rename(tmp_path / f"scan{ending}")
    assert is_scan(path)
    scan = read_scan(path)
    np.testing.assert_array_equal(scan.voxels, voxels)
    np.testing.assert_allclose(scan.affine, grid.affine, atol=1e-4)
    spacing = np.linalg.norm(grid.affine[:3, :3], axis=0)
    np.testing.assert_allclose(scan.placement.spacing, spacing, rtol=1e-5)


def test_nrrd_in_another_convention_lies_at_the_same_place(tmp_path: Path) -> None:
    path = tmp_path / "scan.nrrd"
    header = (
        "NRRD0004\ntype: uint8\ndimension: 3\nspace: right-anterior-superior\nsizes: 2 3 4\n"
        "space directions: (2,0,0) (0,3,0) (0,0,4)\nspace origin: (10,20,30)\n"
        "encoding: raw\n\n"
    )
    path.write_bytes(header.encode() + bytes(range(24)))
    scan = read_scan(path)
    wanted = [[2, 0, 0, 10], [0, 3, 0, 20], [0, 0, 4, 30], [0, 0, 0, 1]]
    np.testing.assert_allclose(scan.affine, wanted)
    assert scan.voxels[1, 0, 0] == 1


def test_scaled_integers_are_read_as_numbers(tmp_path: Path) -> None:
    volume = nib.Nifti1Image(np.linspace(0, 1, 60).reshape(3, 4, 5), np.eye(4))
    volume.header.set_data_dtype(np.int16)
    nib.save(volume, tmp_path / "scan.nii")
    scan = read_scan(tmp_path / "scan.nii")
    assert scan.stored == "int16"
    np.testing.assert_allclose(scan.voxels, volume.get_fdata(), atol=1e-4)


@pytest.mark.parametrize("extra", [(1,), (1, 1)])
def test_a_single_volume_of_four_dimensions_is_one_of_three(
    tmp_path: Path, extra: tuple[int, ...]
) -> None:
    voxels = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    nib.save(nib.Nifti1Image(voxels.reshape(3, 4, 5, *extra), np.eye(4)), tmp_path / "scan.nii")
    np.testing.assert_array_equal(read_scan(tmp_path / "scan.nii").voxels, voxels)


def test_opening_reads_no_voxels(tmp_path: Path) -> None:
    path = tmp_path / "scan.nii"
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 5), np.uint8), np.eye(4)), path)
    path.write_bytes(path.read_bytes()[:352])
    assert open_scan(path).shape == (3, 4, 5)
    with pytest.raises(ScanError, match="truncated"):
        read_scan(path)


def test_a_wrong_checksum_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "scan.nii.gz"
    voxels = np.random.default_rng(0).integers(0, 256, (40, 40, 40)).astype(np.uint8)
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ScanError, match="incorrect data check"):
        read_scan(path)


@pytest.mark.parametrize("components", [2, 3])
def test_vectors_are_no_scans(tmp_path: Path, components: int) -> None:
    image = SimpleITK.GetImageFromArray(np.zeros((4, 5, 6, components), np.uint8), isVector=True)
    SimpleITK.WriteImage(image, str(tmp_path / "scan.nrrd"))
    with pytest.raises(ScanError, match="must hold real numbers, got vector of 8-bit"):
        read_scan(tmp_path / "scan.nrrd")


def test_a_short_file_with_a_large_header_allocates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "scan.nrrd"
    path.write_bytes(
        b"NRRD0004\ntype: double\ndimension: 3\nsizes: 1000 1000 1000\n"
        b"endian: little\nencoding: gzip\n\n12345"
    )
    with pytest.raises(ScanError, match="too short for shape"):
        read_scan(path)


def write_nifti(path: Path) -> np.ndarray:
    voxels = np.arange(1320, dtype=np.int16).reshape(10, 11, 12)
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
    return voxels


def test_bytes_after_the_compressed_content_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    voxels = write_nifti(path)
    path.write_bytes(path.read_bytes() + b"garbage")
    np.testing.assert_array_equal(read_scan(path).voxels, voxels)


def test_content_in_several_compressed_parts_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    voxels = write_nifti(path)
    raw = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(raw[:400]) + gzip.compress(raw[400:]))
    np.testing.assert_array_equal(read_scan(path).voxels, voxels)


def test_a_compressed_file_may_be_called_nii(tmp_path: Path) -> None:
    voxels = write_nifti(tmp_path / "a.nii.gz")
    path = (tmp_path / "a.nii.gz").rename(tmp_path / "a.nii")
    np.testing.assert_array_equal(read_scan(path).voxels, voxels)


def test_a_fourth_dimension_of_zero_is_none(tmp_path: Path) -> None:
    voxels = write_nifti(tmp_path / "a.nii")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[40:56] = struct.pack("<8h", 4, *voxels.shape, 0, 1, 1, 1)
    (tmp_path / "a.nii").write_bytes(raw)
    np.testing.assert_array_equal(read_scan(tmp_path / "a.nii").voxels, voxels)


def test_content_beyond_what_the_header_promises_is_refused_while_reading(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    write_nifti(path)
    path.write_bytes(path.read_bytes() + gzip.compress(bytes(2**23)))
    with pytest.raises(ScanError, match="holds more than its header promises"):
        read_scan(path)


def test_a_compressed_file_that_is_cut_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    write_nifti(path)
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(ScanError, match="truncated"):
        read_scan(path)


def test_a_pipe_among_the_scans_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.nii.gz")
    (tmp_path / "b.nii").symlink_to("/dev/zero")
    for name in ("a.nii.gz", "b.nii"):
        with pytest.raises(ScanError, match="is not a regular file"):
            open_scan(tmp_path / name)


@pytest.mark.parametrize("field", ["data file:", "datafile:", "DATA FILE:", " data file :"])
@pytest.mark.parametrize("comments", [0, 900])
@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_an_nrrd_file_reads_no_other_file(
    tmp_path: Path, field: str, comments: int, end: bytes
) -> None:
    lines = [b"NRRD0004", *[b"# " + b"x" * 77] * comments, b"type: unsigned char", b"dimension: 3"]
    lines += [b"sizes: 4 4 4", b"encoding: raw", f"{field} /etc/passwd".encode(), b"", b""]
    path = tmp_path / "a.nrrd"
    path.write_bytes(end.join(lines))
    with pytest.raises(ScanError, match="must hold its voxels itself"):
        open_scan(path)


def test_an_nrrd_header_without_an_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.nrrd"
    path.write_bytes(b"NRRD0004\n" + b"# a comment\n" * 10**5)
    with pytest.raises(ScanError, match="must have a header of at most"):
        open_scan(path)
