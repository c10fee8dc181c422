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
    with pytest.raises(ScanError, match="CRC"):
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
