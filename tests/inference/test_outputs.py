from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from gaborseg.inference.outputs import write_labels, write_probabilities
from gaborseg.machine import whole_file
from gaborseg.pictures import draw_example, draw_overlay, example_slices
from gaborseg.pictures.overlay import canonical
from gaborseg.scans import PreparedGrid

AFFINE = np.array([[0, 0, 2.0, -5], [-1.5, 0, 0, 7], [0, 3.0, 0, 1], [0, 0, 0, 1]])


def write_scan(path: Path, shape: tuple[int, ...] = (4, 5, 6)) -> Path:
    image = nib.Nifti1Image(np.arange(np.prod(shape), dtype=np.int16).reshape(shape), AFFINE)
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_slope_inter(0.1, 5)
    image.header["cal_max"] = 900
    image.header["descrip"] = b"scanner"
    image.set_qform(AFFINE, code="scanner")
    image.set_sform(AFFINE, code="aligned")
    nib.save(image, path)
    return path


@pytest.mark.parametrize("shape", [(4, 5, 6), (4, 5, 6, 1)])
def test_a_label_map_lies_where_the_scan_does(shape: tuple[int, ...], tmp_path: Path) -> None:
    scan = write_scan(tmp_path / "scan.nii.gz", shape)
    labels = torch.randint(0, 256, (4, 5, 6)).byte()
    write_labels(tmp_path / "out" / "labels.nii.gz", labels, scan, AFFINE)
    source, result = nib.load(scan), nib.load(tmp_path / "out" / "labels.nii.gz")
    assert result.shape == shape
    assert result.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asanyarray(result.dataobj).reshape(4, 5, 6), labels.numpy())
    np.testing.assert_array_equal(result.affine, source.affine)
    assert result.header.get_xyzt_units() == ("mm", "sec")
    assert (result.header["qform_code"], result.header["sform_code"]) == (1, 2)
    assert result.header["cal_max"] == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["labels.nii.gz"]


def test_of_several_volumes_there_is_one_label_map(tmp_path: Path) -> None:
    scan = write_scan(tmp_path / "scan.nii.gz", (4, 5, 6, 3))
    labels = torch.ones(4, 5, 6).byte()
    write_labels(tmp_path / "labels.nii.gz", labels, scan, AFFINE)
    result = nib.load(tmp_path / "labels.nii.gz")
    assert result.shape == (4, 5, 6)
    np.testing.assert_array_equal(result.affine, nib.load(scan).affine)


def test_other_formats_give_nifti_in_millimetres(tmp_path: Path) -> None:
    nib.save(nib.MGHImage(np.ones((4, 5, 6), np.float32), AFFINE), tmp_path / "scan.mgz")
    labels = torch.ones(4, 5, 6).byte()
    write_labels(tmp_path / "labels.nii.gz", labels, tmp_path / "scan.mgz", AFFINE)
    result = nib.load(tmp_path / "labels.nii.gz")
    np.testing.assert_allclose(result.affine, AFFINE)
    assert result.header.get_xyzt_units()[0] == "mm"


def test_probabilities_are_a_volume_a_label_on_the_scans_grid(tmp_path: Path) -> None:
    scan = write_scan(tmp_path / "scan.nii")
    grid = PreparedGrid((4, 5, 6), AFFINE, 8)
    scores = torch.stack([torch.full((8, 8, 8), value) for value in (0.25, 1.5, -0.5)])
    write_probabilities(tmp_path / "p.nii.gz", scores, grid, scan)
    result = nib.load(tmp_path / "p.nii.gz")
    assert result.shape == (4, 5, 6, 3)
    for label, expected in enumerate((0.25, 1.0, 0.0)):
        np.testing.assert_allclose(result.get_fdata()[..., label], expected, atol=0.5 / 255 + 1e-6)
    np.testing.assert_array_equal(result.affine, nib.load(scan).affine)


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("old")

    def fail() -> None:
        with whole_file(tmp_path / "x") as temporary:
            temporary.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert (tmp_path / "x").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_picture_is_drawn_of_an_odd_grid_and_of_nothing_found(tmp_path: Path) -> None:
    grid = PreparedGrid((4, 5, 6), AFFINE, 8)
    labels = torch.zeros(4, 5, 6).byte()
    for name, found in (("none", labels), ("some", labels + 2)):
        path = tmp_path / f"{name}.png"
        draw_overlay(path, torch.rand(4, 5, 6), found, grid, {"a": 1.0, "b": 2e3}, "title")
        assert path.read_bytes().startswith(b"\x89PNG")


def test_pictures_are_turned_to_right_anterior_superior() -> None:
    grid = PreparedGrid((4, 5, 6), AFFINE, 8)
    world = torch.zeros(4, 5, 6)
    for index in np.ndindex(4, 5, 6):
        world[index] = float((AFFINE[:3, :3] @ index).sum())
    turned = canonical(world, grid)
    assert turned.shape == (6, 4, 5)
    for axis in range(3):
        assert (np.diff(turned, axis=axis) > 0).all()


@pytest.mark.slow
def test_a_name_in_a_picture_is_no_formula(tmp_path: Path) -> None:
    grid = PreparedGrid((4, 5, 6), AFFINE, 8)
    labels = torch.ones(4, 5, 6).byte()
    name = "$\\foo{$ a\udcff"
    draw_overlay(tmp_path / "a.png", torch.rand(4, 5, 6), labels, grid, {name: 1.0}, name)
    draw_example(tmp_path / "b.png", example_slices(torch.rand(1, 4, 5, 6), labels, labels), name)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")
