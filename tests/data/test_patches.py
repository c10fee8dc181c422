import pytest
import torch
from torch import Tensor

from gaborseg.data import infer_volume
from gaborseg.data.patches import RandomPatches


def numbered(side: int = 8) -> tuple[Tensor, Tensor]:
    """A volume whose voxels are numbered, in two channels, and labels 0, 1 (an eighth), 2 (one)."""
    count = torch.arange(side**3).reshape(side, side, side)
    label = torch.zeros(side, side, side, dtype=torch.uint8)
    label[: side // 2, : side // 2, : side // 2] = 1
    label[-3, -3, -3] = 2
    return torch.stack([count, -count]).float(), label


@pytest.mark.parametrize("sampler", ["uniform", "label"])
def test_patches_are_pieces_of_image_and_label_alike(sampler: str) -> None:
    image, label = numbered()
    images, labels = RandomPatches(3, 5, sampler)(image, label)
    assert images.shape == (5, 2, 3, 3, 3)
    assert labels.shape == (5, 3, 3, 3)
    assert (images.dtype, labels.dtype) == (torch.float32, torch.uint8)
    for patch, its_label in zip(images, labels, strict=True):
        assert torch.equal(label.flatten()[patch[0].long()], its_label)
        assert torch.equal(patch[0], -patch[1])


def test_a_patch_is_no_longer_than_the_volume() -> None:
    image, label = torch.rand(1, 4, 9, 20), torch.zeros(4, 9, 20, dtype=torch.uint8)
    assert RandomPatches(8)(image, label)[0].shape == (1, 1, 4, 8, 8)


@pytest.mark.slow
def test_the_label_sampler_finds_the_rare_as_often_as_the_common() -> None:
    image, label = numbered()
    _, labels = RandomPatches(3, 600, "label")(image, label)
    centres = labels[:, 1, 1, 1].bincount(minlength=3) / 600
    torch.testing.assert_close(centres, torch.full((3,), 1 / 3), atol=0.08, rtol=0)


@pytest.mark.slow
def test_the_uniform_sampler_finds_everything_equally_often() -> None:
    image, label = numbered(4)
    images, _ = RandomPatches(3, 800, "uniform")(image, label)
    corners = images[:, 0, 0, 0, 0].long().bincount(minlength=64)
    assert corners.count_nonzero() == 8
    torch.testing.assert_close(
        corners[corners > 0] / 800, torch.full((8,), 0.125), atol=0.05, rtol=0
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch_size": 0}, "patch_size must be at least 1, got 0"),
        ({"patch_size": 4, "count": 0}, "patches_per_volume must be at least 1, got 0"),
        ({"patch_size": 4, "sampler": "best"}, "patch_sampler must be one of uniform, label, got"),
    ],
)
def test_unfit_patches_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RandomPatches(**options)


def test_what_a_function_does_voxel_by_voxel_does_not_depend_on_patches() -> None:
    image = torch.rand(1, 2, 9, 11, 7)
    whole = infer_volume(lambda patch: torch.cat([patch, 2 * patch], dim=1), image, patch_size=5)
    torch.testing.assert_close(whole, torch.cat([image, 2 * image], dim=1))


def test_a_volume_is_cut_into_patches_of_one_size() -> None:
    seen = []
    image = torch.rand(1, 1, 8, 6, 10)
    whole = infer_volume(lambda p: seen.append(p.shape) or p, image, patch_size=4)
    torch.testing.assert_close(whole, image)
    assert set(seen) == {(1, 1, 4, 4, 4)}


def test_one_patch_as_large_as_the_volume_is_the_volume() -> None:
    calls = []

    def function(patch: Tensor) -> Tensor:
        calls.append(patch.shape)
        return patch

    infer_volume(function, torch.rand(1, 1, 6, 8, 4), patch_size=10)
    assert calls == [(1, 1, 6, 8, 4)]


def test_without_patches_a_function_gets_the_whole_batch() -> None:
    image = torch.rand(2, 1, 6, 8, 4)
    assert infer_volume(lambda whole: whole, image) is image


@pytest.mark.parametrize(
    ("options", "message"),
    [({"patch_size": 0}, "patch_size must be"), ({"patch_size": 4, "overlap": 1}, "overlap must")],
)
def test_an_unfit_grid_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        infer_volume(lambda patch: patch, torch.rand(1, 1, 8, 8, 8), **options)
