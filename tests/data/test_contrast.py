"""Random contrast: what is drawn, what stays, and what it does to odd samples."""

import numpy as np
import pytest
import torch
import torchio as tio
from torch import Tensor

from config import compose_config
from gaborseg.data import RandomContrast
from gaborseg.data.augmentation import augmented, seeded
from gaborseg.interface import build

NAMES = ("a", "b")


def sample(channels: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(4, (6, 7, 8), generator=generator, dtype=torch.uint8)
    return torch.randn(channels, *label.shape, generator=generator), label


def contrasted(transform: RandomContrast, image: Tensor, label: Tensor) -> Tensor:
    with seeded(1):
        changed, same = augmented(transform, image, label, np.eye(4), NAMES)
    assert torch.equal(same, label)
    return changed


def test_structures_take_the_mean_and_deviation_that_are_drawn() -> None:
    image, label = sample()
    transform = RandomContrast(mean=(0.3, 0.3), std=(0.05, 0.05), probability=1)
    changed = contrasted(transform, image, label).numpy()
    low, width = image.min().item(), np.ptp(image.numpy())
    for structure in (1, 2):
        inside = changed[0][label.numpy() == structure].astype(np.float64)
        assert inside.mean() == pytest.approx(low + 0.3 * width, abs=1e-5)
        assert inside.std() == pytest.approx(0.05 * width, abs=1e-5)


def test_texture_inside_a_structure_stays() -> None:
    image, label = sample()
    changed = contrasted(RandomContrast(probability=1), image, label)
    inside = label == 2
    pairs = np.corrcoef(image[0][inside].numpy(), changed[0][inside].numpy())
    assert pairs[0, 1] == pytest.approx(1, abs=1e-5)


def test_voxels_of_no_structure_stay() -> None:
    image, label = sample()
    changed = contrasted(RandomContrast(probability=1), image, label)
    for outside in (label == 0, label == 3):
        assert torch.equal(changed[0][outside], image[0][outside])


def test_each_structure_and_channel_is_drawn_for_itself() -> None:
    image, label = sample(channels=2)
    changed = contrasted(RandomContrast(probability=1), image, label)
    means = {round(changed[c][label == k].mean().item(), 3) for c in (0, 1) for k in (1, 2)}
    assert len(means) == 4


def test_draws_do_not_depend_on_which_structures_a_patch_holds() -> None:
    image, label = sample()
    patch = label.where(label != 1, 0)
    transform = RandomContrast(probability=1)
    whole, part = (contrasted(transform, image, one)[0][label == 2] for one in (label, patch))
    assert torch.equal(whole, part)


def test_a_structure_of_one_intensity_has_no_texture_to_stretch() -> None:
    image, label = sample()
    image[0][label == 1] = 0.5
    changed = contrasted(RandomContrast(probability=1), image, label)
    assert changed[0][label == 1].unique().numel() == 1


def test_an_image_of_one_intensity_stays() -> None:
    image, label = torch.full((1, 4, 4, 4), 2.0), torch.ones(4, 4, 4, dtype=torch.uint8)
    assert torch.equal(contrasted(RandomContrast(probability=1), image, label), image)


def test_a_sample_may_stay_as_it_is() -> None:
    image, label = sample()
    assert torch.equal(contrasted(RandomContrast(probability=0), image, label), image)


def test_the_sample_that_was_given_is_not_changed() -> None:
    image, label = sample()
    before = image.clone()
    contrasted(RandomContrast(probability=1), image, label)
    assert torch.equal(image, before)


@pytest.mark.parametrize("value", [(0.5, 0.2), (-0.1, 0.2), (0.5, 1.2)])
@pytest.mark.parametrize("name", ["mean", "std"])
def test_a_range_outside_the_images_is_refused(name: str, value: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be increasing and in 0\.\.1, got \("):
        RandomContrast(**{name: value})


@pytest.mark.parametrize("value", [0.5, ("a", 1), (0.1, 0.2, 0.3)])
def test_what_is_no_range_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="mean must be two numbers, the smaller first, got"):
        RandomContrast(mean=value)


def test_an_image_of_integers_becomes_one_of_floats() -> None:
    image, label = sample()
    subject = tio.Subject(
        image=tio.ScalarImage(tensor=(100 * image).short()),
        label=tio.LabelMap(tensor=label[None]),
        structures=NAMES,
    )
    with seeded(1):
        changed = RandomContrast(probability=1)(subject)["image"].data
    assert changed.dtype == torch.float32
    assert changed[0][label == 1].unique().numel() > 1


def test_the_option_draws_contrast_before_intensities_change() -> None:
    pipeline = build(compose_config(["augmentation=contrast"]).augmentation)
    assert [*pipeline.named][:3] == ["affine", "contrast", "zero_to_one"]
    assert isinstance(pipeline["contrast"], RandomContrast)
    assert isinstance(pipeline["standardize"], tio.ZNormalization)
