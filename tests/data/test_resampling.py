from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
import torchio as tio
from torch import Tensor

from gaborseg.data import Augmentation, RandomAffine, SegmentationData
from gaborseg.data.augmentation import augmented, seeded
from gaborseg.data.sampling import postponed
from gaborseg.data.transforms import AffineDraw, apply_affine, voxel_map
from gaborseg.gpu import Resampling, resampled

Build = Callable[..., SegmentationData]
UNEVEN = (24, 30, 18)
PIR = np.array([[0, 0, 3.0, 5], [-1.0, 0, 0, 40], [0, -2.0, 0, 9], [0, 0, 0, 1]])
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = np.linalg.qr(np.arange(9).reshape(3, 3) + 3 * np.eye(3))[0] * [1.0, 1.7, 2.2]
AFFINES = {"cubes": np.eye(4), "boxes": np.diag([1.0, 2, 3, 1]), "pir": PIR, "oblique": OBLIQUE}


def volume(dtype: torch.dtype = torch.uint8) -> tuple[Tensor, Tensor]:
    return torch.randn(2, *UNEVEN), torch.randint(0, 20, UNEVEN).to(dtype)


def done_at_once(
    image: Tensor, label: Tensor, affine: np.ndarray, draw: AffineDraw
) -> tuple[Tensor, Tensor]:
    return augmented(partial(apply_affine, draw=draw), image, label, affine, ())


def done_later(
    image: Tensor, label: Tensor, affine: np.ndarray, draw: AffineDraw
) -> tuple[Tensor, Tensor]:
    how = Resampling(voxel_map(draw, affine, UNEVEN), ((0, 0, 0),), UNEVEN)
    batch = resampled({"image": image[None], "label": label[None], "resampling": [how]})
    return batch["image"][0], batch["label"][0]


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16])
def test_a_volume_is_moved_as_torchio_moves_it(affine: np.ndarray, dtype: torch.dtype) -> None:
    image, label = volume(dtype)
    for _ in range(5):
        draw = RandomAffine(1.0, degrees=180).draw(UNEVEN)
        assert draw is not None
        want_image, want_label = done_at_once(image, label, affine, draw)
        got_image, got_label = done_later(image, label, affine, draw)
        extent = image.max() - image.min()
        torch.testing.assert_close(got_image, want_image, atol=5e-6 * float(extent), rtol=0)
        assert got_label.dtype == dtype
        assert torch.equal(got_label, want_label)  # a tie is a matter of 1e-13 voxels


def test_the_edge_of_a_volume_reaches_half_a_voxel_beyond_its_last_centre() -> None:
    image, label = torch.full((1, *UNEVEN), 3.0), torch.ones(UNEVEN, dtype=torch.uint8)
    image[0, 12, 12, 12] = -1
    for shift, empty in ((0.4, 0), (0.6, 1)):
        moved, labels = done_later(image, label, np.eye(4), AffineDraw(0.0, 1.0, (shift, 0, 0)))
        assert (labels[:, 0, 0] == 0).sum() == empty
        assert (moved[0, :, 0, 0] == -1).sum() == empty


def test_double_precision_stays_and_half_is_interpolated_in_single() -> None:
    image, label = volume()
    draw = AffineDraw(17.0, 1.1, (1.3, -2.4, 0.6))
    single, _ = done_later(image, label, PIR, draw)
    double, _ = done_later(image.double(), label, PIR, draw)
    half, _ = done_later(image.bfloat16(), label, PIR, draw)
    assert (double.dtype, half.dtype) == (torch.float64, torch.bfloat16)
    torch.testing.assert_close(single.double(), double, atol=2e-5, rtol=0)
    rounded, _ = done_later(image.bfloat16().float(), label, PIR, draw)
    assert torch.equal(half, rounded.bfloat16())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_size": 2},
        {"batch_size": 2, "patch_size": 5, "patches_per_volume": 3},
        {"patch_size": 4, "patches_per_volume": 2, "patch_sampler": "label"},
        {"num_workers": 1, "batch_size": 2, "patch_size": 4},
    ],
)
@pytest.mark.parametrize("blurred", [False, True])
def test_batches_are_those_of_the_cpu_whatever_they_consist_of(
    tiny_data: Build, options: dict, blurred: bool
) -> None:
    blur = {"blur": tio.RandomBlur(std=(0, 4), p=0.5)} if blurred else {}
    pipeline = Augmentation({**blur, "affine": RandomAffine(0.7)})
    options = {"num_workers": 0, "augmentation": pipeline, **options}
    pairs = zip(
        transferred(tiny_data(**options)),
        transferred(tiny_data(**options, augment_on="gpu")),
        strict=True,
    )
    for want, got in pairs:
        assert want.keys() == got.keys()
        assert torch.equal(want["index"], got["index"])
        assert torch.equal(want["label"], got["label"])
        torch.testing.assert_close(got["image"], want["image"], atol=2e-5, rtol=0)


def transferred(data: SegmentationData) -> list[dict[str, Tensor]]:
    """The batches of two epochs as a network gets them."""
    loader, found = data.loader("train"), []
    for epoch in (0, 3):
        loader.sampler.set_epoch(epoch)
        found += [data.on_after_batch_transfer(batch, 0) for batch in loader]
    return found


def test_a_sample_that_is_not_moved_stays_bit_for_bit(tiny_data: Build) -> None:
    options = {"augmentation": RandomAffine(0.0), "num_workers": 0, "patch_size": 4}
    want, got = (transferred(tiny_data(**options, augment_on=on)) for on in ("cpu", "gpu"))
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(want, got, strict=True))


def test_labels_that_nobody_looked_for_come_with_every_patch(tiny_data: Build) -> None:
    data = tiny_data(
        augmentation=RandomAffine(), augment_on="gpu", num_workers=0, patch_size=4, batch_size=2
    )
    samples = data._training_samples()
    samples.unlabelled = torch.zeros(len(data.subjects), 3, dtype=torch.bool)
    samples.unlabelled[1, 2] = True
    assert samples[0, 1]["unlabelled"].tolist() == [[False, False, True]]


def test_validation_and_single_samples_are_left_alone(tiny_data: Build) -> None:
    data = tiny_data(augmentation=RandomAffine(1.0), augment_on="gpu", num_workers=0)
    assert "resampling" not in next(iter(data.loader("validation")))
    at_once = tiny_data(augmentation=RandomAffine(1.0), num_workers=0)
    assert torch.equal(data.sample("sub-01", 0)["image"], at_once.sample("sub-01", 0)["image"])


def test_the_generator_goes_on_as_after_torchios_affine() -> None:
    image, label = volume()
    drawn = []
    for transform in (RandomAffine(), postponed(RandomAffine())):
        with seeded(5):
            augmented(transform, image, label, np.eye(4), ())
            drawn.append(torch.rand(1))
    assert torch.equal(*drawn)


class Own(RandomAffine):
    pass


@pytest.mark.parametrize(
    ("augmentation", "got"),
    [
        (None, "got none"),
        (Augmentation({}), "got none"),
        (Augmentation({"affine": RandomAffine(), "blur": tio.RandomBlur()}), "got affine, blur"),
        (Augmentation({"one": RandomAffine(), "two": RandomAffine()}), "got one, two"),
        (Augmentation({"own": Own()}), "got own"),
        (tio.Compose([RandomAffine()]), "got Compose"),
    ],
)
def test_other_augmentations_are_refused_on_a_gpu(
    cohort: str, augmentation: object, got: str
) -> None:
    with pytest.raises(ValueError, match=rf"^data\.augment_on=gpu needs .* last .*, {got}: use "):
        SegmentationData.from_folder(cohort, augmentation=augmentation, augment_on="gpu")


def test_another_device_is_refused(cohort: str) -> None:
    with pytest.raises(ValueError, match="augment_on must be cpu or gpu, got 'tpu'"):
        SegmentationData.from_folder(cohort, augment_on="tpu")
