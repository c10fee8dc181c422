import nibabel as nib
import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform

from distorted_cohort import CODES, Grid, phantom, random_grid
from gaborseg.scans import (
    PreparedGrid,
    labels_to_native,
    labels_to_prepared,
    to_native,
    to_prepared,
)
from gaborseg.scans.geometry import area_weights, linear_weights, nearest_weights

FIELD_OF_VIEW = (66, 78, 86)


@pytest.fixture(params=CODES)
def grid(request: pytest.FixtureRequest) -> Grid:
    rng = np.random.default_rng(CODES.index(request.param))
    return random_grid(rng, request.param, FIELD_OF_VIEW, (2.0, 5.0), (12, 40))


def onehot(labels: torch.Tensor, count: int = 4) -> torch.Tensor:
    return torch.nn.functional.one_hot(labels.long(), count).movedim(-1, 0).float()


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * (first & second).sum() / (first.sum() + second.sum())


def test_a_grid_that_is_prepared_already_stays() -> None:
    image = torch.rand(2, 9, 9, 9)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    cube, grid = to_prepared(image, affine, 9)
    torch.testing.assert_close(cube, image)
    np.testing.assert_allclose(grid.prepared_affine, affine)


def test_axes_are_turned_towards_right_anterior_superior() -> None:
    canonical = torch.rand(6, 6, 6)
    image = nib.Nifti1Image(canonical.numpy(), np.eye(4))
    pir = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt("PIR")
    )
    scanned = image.as_reoriented(pir)
    assert nib.aff2axcodes(scanned.affine) == ("P", "I", "R")
    cube, grid = to_prepared(torch.from_numpy(scanned.get_fdata()), scanned.affine, 6)
    torch.testing.assert_close(cube, canonical)
    np.testing.assert_allclose(grid.prepared_affine, np.eye(4), atol=1e-12)


def test_the_cube_is_as_long_as_the_longest_side_and_has_the_same_centre(grid: Grid) -> None:
    prepared = PreparedGrid(grid.shape, grid.affine, 32)
    lengths = np.linalg.norm(grid.affine[:3, :3], axis=0) * grid.shape
    assert prepared.spacing * 32 == pytest.approx(lengths.max())
    spacing = np.linalg.norm(prepared.prepared_affine[:3, :3], axis=0)
    np.testing.assert_allclose(spacing, prepared.spacing)
    middle = prepared.prepared_affine @ [15.5, 15.5, 15.5, 1]
    centre = grid.affine @ [*(np.array(grid.shape) - 1) / 2, 1]
    np.testing.assert_allclose(middle, centre, atol=1e-9)
    assert nib.aff2axcodes(prepared.prepared_affine) == ("R", "A", "S")


def test_what_is_outside_the_scan_is_zero_or_the_lowest_value() -> None:
    affine = np.eye(4)
    cube, _ = to_prepared(torch.full((4, 8, 8), 3.0), affine, 8)
    assert cube[[0, 1, 6, 7]].eq(0).all()
    assert cube[2:6].eq(3).all()
    cube, _ = to_prepared(torch.full((4, 8, 8), -1000.0), affine, 8)
    assert cube.eq(-1000).all()
    channels = torch.stack([torch.full((4, 8, 8), value) for value in (-1000.0, 3.0)])
    cube, _ = to_prepared(channels, affine, 8)
    assert cube[0].eq(-1000).all()
    assert cube[1, 0].eq(0).all()


def test_enlarging_is_linear_interpolation() -> None:
    volume = np.random.default_rng(0).random((7, 7, 7))
    cube, grid = to_prepared(torch.from_numpy(volume), np.eye(4), 16)
    matrix = grid.scan_from_prepared
    wanted = affine_transform(
        volume, matrix[:3, :3], matrix[:3, 3], (16, 16, 16), order=1, mode="nearest"
    )
    np.testing.assert_allclose(cube.numpy(), wanted, atol=1e-6)


def test_shrinking_does_not_alias() -> None:
    stripes = torch.arange(64).remainder(2).float().expand(64, 64, 64)
    cube, _ = to_prepared(stripes, np.eye(4), 16)
    assert (cube[:, :, 1:-1] - 0.5).abs().max() < 0.02


def test_a_linear_image_stays_linear_wherever_it_is_seen(grid: Grid) -> None:
    slope = np.array([0.3, -0.2, 0.1])
    image = torch.from_numpy(grid.world() @ slope + 100)
    cube, prepared = to_prepared(image, grid.affine, 24)
    world = Grid((24, 24, 24), prepared.prepared_affine).world()
    to_scan = np.linalg.inv(grid.affine)
    where = world @ to_scan[:3, :3].T + to_scan[:3, 3]
    reach = prepared.spacing / np.linalg.norm(grid.affine[:3, :3], axis=0)
    inside = ((where >= reach) & (where <= np.array(grid.shape) - 1 - reach)).all(axis=-1)
    assert inside.sum() > 500
    np.testing.assert_allclose(cube.numpy()[inside], (world @ slope + 100)[inside], atol=1e-3)


def test_an_integer_shrink_counts_labels() -> None:
    labels = torch.zeros(8, 8, 8, dtype=torch.uint8)
    labels[:5] = 2
    labels[0, 0, :2] = 1
    prepared = labels_to_prepared(labels, PreparedGrid((8, 8, 8), np.eye(4), 4))
    assert prepared[:2].eq(2).all()
    assert prepared[2:].eq(0).all()  # equal shares go to the smaller label


def test_left_and_right_are_where_they_were(grid: Grid) -> None:
    _, labels = phantom(grid.world())
    prepared = PreparedGrid(grid.shape, grid.affine, 48)
    cube = labels_to_prepared(torch.from_numpy(labels), prepared).numpy()
    world = Grid((48,) * 3, prepared.prepared_affine).world()
    np.testing.assert_allclose(world[cube == 2].mean(axis=0), (-12, 14, 16), atol=1.5)
    np.testing.assert_allclose(world[cube == 3].mean(axis=0), (13, -12, -14), atol=1.5)


def test_labels_come_back_onto_the_scans_own_grid(grid: Grid) -> None:
    _, labels = phantom(grid.world())
    prepared = PreparedGrid(grid.shape, grid.affine, 64)
    cube = labels_to_prepared(torch.from_numpy(labels), prepared)
    back = labels_to_native(onehot(cube), prepared).numpy()
    assert back.shape == grid.shape
    assert back.dtype == np.uint8
    for structure in range(1, 4):
        if (labels == structure).sum() > 200:
            assert dice(back == structure, labels == structure) > 0.95


def test_labels_do_not_depend_on_the_blocks(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = torch.rand(3, 10, 10, 10)
    prepared = PreparedGrid(grid.shape, grid.affine, 10)
    monkeypatch.setattr("gaborseg.scans.geometry.BLOCK", 5)
    in_blocks = labels_to_native(scores, prepared)
    assert torch.equal(in_blocks.long(), to_native(scores, prepared).argmax(dim=0))


def test_nearest_keeps_values(grid: Grid) -> None:
    cube = torch.randint(0, 99, (10, 10, 10))
    back = to_native(cube, PreparedGrid(grid.shape, grid.affine, 10), "nearest")
    assert set(back.unique().tolist()) <= set(cube.unique().tolist())


@pytest.mark.parametrize(
    "weights",
    [
        linear_weights(np.linspace(-3, 9, 50), 7),
        linear_weights(np.linspace(-3, 9, 50), 7, width=2.5),
        area_weights(np.linspace(-3, 9, 50), 7, width=1.7),
        nearest_weights(np.linspace(-3, 9, 50), 7),
    ],
)
def test_weights_add_up_to_one_inside_and_to_nothing_outside(weights: torch.Tensor) -> None:
    where = np.linspace(-3, 9, 50)
    inside = torch.from_numpy((where >= -0.5) & (where < 6.5))
    torch.testing.assert_close(weights.sum(dim=1), inside.float())
    assert (weights >= 0).all()
