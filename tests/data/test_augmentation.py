import random
from functools import partial

import numpy as np
import pytest
import torch
import torchio as tio
from SimpleITK import ProcessObject

from config import CONF, compose_config
from gaborseg.data import Augmentation, RandomAffine, RandomMirror
from gaborseg.data.augmentation import Transform, augmented, seeded, try_augmentation
from gaborseg.data.transforms import AffineDraw, apply_affine
from gaborseg.interface import build

SHAPE = (24, 30, 18)
ANISOTROPIC = np.diag([1.0, 2.0, 3.0, 1.0])
OPTIONS = sorted(path.stem for path in (CONF / "augmentation").glob("*.yaml"))
PIR = np.array([[0, 0, 3.0, 5], [-1.0, 0, 0, 40], [0, -2.0, 0, 9], [0, 0, 0, 1]])


def box(half_width: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """An image and a label map with a box in the middle of the volume."""
    label = torch.zeros(SHAPE, dtype=torch.uint8)
    label[tuple(slice(size // 2 - half_width, size // 2 + half_width) for size in SHAPE)] = 1
    return label[None].float() - 1, label


def moved_by(
    image: torch.Tensor, label: torch.Tensor, affine: np.ndarray, draw: AffineDraw
) -> tuple[torch.Tensor, torch.Tensor]:
    return augmented(partial(apply_affine, draw=draw), image, label, affine, ())


def blob() -> torch.Tensor:
    """An image of a Gaussian of 1.5 voxels in the middle of the volume."""
    axes = [torch.arange(size) - (size - 1) / 2 for size in SHAPE]
    squares = sum(axis.square() for axis in torch.meshgrid(*axes, indexing="ij"))
    return torch.exp(-squares / (2 * 1.5**2))[None]


def centre_of_mass(weights: torch.Tensor) -> np.ndarray:
    where = weights.nonzero().double()
    mass = weights[tuple(weights.nonzero().T)].double()
    return ((where * mass[:, None]).sum(0) / mass.sum()).numpy()


@pytest.mark.parametrize("affine", [np.eye(4), ANISOTROPIC, PIR])
@pytest.mark.parametrize("scale", [0.8, 1.0, 1.2])
def test_the_centre_moves_by_exactly_the_drawn_voxels(affine: np.ndarray, scale: float) -> None:
    image, label = blob(), box()[1]
    shift = (3.7, -5.2, 2.4)
    moved, _ = moved_by(image, label, affine, AffineDraw(17.0, scale, shift))
    displacement = centre_of_mass(moved[0]) - centre_of_mass(image[0])
    np.testing.assert_allclose(displacement, shift, atol=0.03)


def test_an_impulse_moves_by_whole_voxels_exactly() -> None:
    image, label = torch.zeros(1, *SHAPE), torch.zeros(SHAPE, dtype=torch.uint8)
    image[0, 12, 10, 8], label[12, 10, 8] = 1, 1
    draw = AffineDraw(0.0, 1.0, (3.0, -4.0, 2.0))
    moved_image, moved_label = moved_by(image, label, ANISOTROPIC, draw)
    assert moved_image[0, 15, 6, 10] == pytest.approx(1.0, abs=1e-5)
    assert moved_label.nonzero().tolist() == [[15, 6, 10]]


def test_scale_above_one_enlarges() -> None:
    image, label = box(half_width=4)
    _, larger = moved_by(image, label, np.eye(4), AffineDraw(0.0, 1.5, (0.0, 0.0, 0.0)))
    assert larger.sum() == 12**3


def test_rotation_is_about_the_worlds_z_axis() -> None:
    image, label = torch.zeros(1, 9, 9, 9), torch.zeros(9, 9, 9, dtype=torch.uint8)
    label[7, 4, 6] = 1
    _, turned = moved_by(image, label, np.eye(4), AffineDraw(90.0, 1.0, (0.0, 0.0, 0.0)))
    assert turned.nonzero().tolist() == [[4, 7, 6]]


def test_new_voxels_are_the_channels_minimum_and_background() -> None:
    image = torch.stack([torch.full(SHAPE, 3.0), torch.full(SHAPE, 5.0)])
    image[:, 12, 12, 12] = torch.tensor([-1.0, -2.0])
    label = torch.ones(SHAPE, dtype=torch.uint8)
    draw = AffineDraw(0.0, 1.0, (4.0, 0.0, 0.0))
    moved_image, moved_label = moved_by(image, label, np.eye(4), draw)
    assert moved_image[0, :3].unique().tolist() == [-1.0]
    assert moved_image[1, :3].unique().tolist() == [-2.0]
    assert moved_label[:3].unique().tolist() == [0]


def test_draws_fill_their_ranges() -> None:
    torch.manual_seed(0)
    draws = [RandomAffine().draw((10, 20, 40)) for _ in range(2000)]
    fired = [draw for draw in draws if draw is not None]
    assert len(fired) / len(draws) == pytest.approx(0.8, abs=0.03)
    for values, limits in [
        ([draw.degrees for draw in fired], (-30, 30)),
        ([draw.scale for draw in fired], (0.8, 1.2)),
        ([draw.shift[0] for draw in fired], (-2, 2)),
        ([draw.shift[2] for draw in fired], (-8, 8)),
    ]:
        span = limits[1] - limits[0]
        assert limits[0] <= min(values) < limits[0] + 0.01 * span
        assert limits[1] - 0.01 * span < max(values) <= limits[1]


def test_probability_zero_leaves_samples_alone() -> None:
    image, label = box()
    same_image, same_label = augmented(RandomAffine(probability=0), image, label, np.eye(4), ())
    assert same_image.data_ptr() == image.data_ptr()
    assert torch.equal(same_label, label)


def test_threads_do_not_change_the_result() -> None:
    image, label = torch.rand(1, *SHAPE), box()[1]
    draw = AffineDraw(20.0, 1.1, (1.3, 2.4, -0.7))
    before = ProcessObject.GetGlobalDefaultNumberOfThreads()
    results = []
    for threads in (1, 4):
        ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
        results.append(moved_by(image, label, ANISOTROPIC, draw))
    ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"probability": 1.5}, r"probability must be in 0\.\.1, got 1.5"),
        ({"scale": (0.0, 1.0)}, "scale must be positive and increasing"),
        ({"scale": (1.2, 0.8)}, "scale must be positive and increasing"),
        ({"shift": -0.1}, "must not be negative"),
    ],
)
def test_a_range_that_makes_no_sense_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RandomAffine(**options)


def small_sample() -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """A bright box of label 2 with an unlabelled rim in a dark volume of noise."""
    label = torch.zeros(12, 14, 10, dtype=torch.uint8)
    label[4:8, 4:9, 3:7] = 2
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, *label.shape, generator=generator) + 3 * (label[None] > 0)
    return image, label, ANISOTROPIC


def option(name: str) -> Transform:
    return build(compose_config([f"augmentation={name}"]).augmentation)


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_keeps_shape_type_and_labels(name: str) -> None:
    image, label, affine = small_sample()
    transform = option(name)
    for seed in range(6):
        with seeded(seed):
            new_image, new_label = augmented(transform, image, label, affine, ("a", "b"))
        assert (new_image.shape, new_image.dtype) == (image.shape, torch.float32)
        assert (new_label.shape, new_label.dtype) == (label.shape, torch.uint8)
        assert set(new_label.unique().tolist()) <= {0, 2}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_is_decided_by_the_seed(name: str) -> None:
    transform = option(name)
    samples = []
    for seed in (1, 1, 2):
        with seeded(seed):
            samples.append(augmented(transform, *small_sample(), ())[0])
    assert torch.equal(samples[0], samples[1])
    assert torch.equal(samples[0], samples[2]) == (name == "none")


@pytest.mark.parametrize("name", ["intensity", "contrast", "strong"])
def test_intensities_are_standardized_again(name: str) -> None:
    image, _ = augmented(option(name), *small_sample(), ())
    assert image.mean().item() == pytest.approx(0, abs=1e-5)
    assert image.std().item() == pytest.approx(1, abs=1e-3)


def test_intensity_leaves_the_labels_where_they_are() -> None:
    _, label = augmented(option("intensity"), *small_sample(), ())
    assert torch.equal(label, small_sample()[1])


def test_the_paper_draws_what_its_affine_alone_draws() -> None:
    results = []
    for transform in (option("paper"), RandomAffine()):
        with seeded(3):
            results.append((*augmented(transform, *small_sample(), ()), torch.rand(1)))
    assert all(map(torch.equal, *results))


def test_any_transform_of_torchio_can_be_added_on_the_command_line() -> None:
    blur = "+augmentation.transforms.blur={_target_: torchio.RandomBlur, std: 3}"
    pipeline = build(compose_config(["augmentation=paper", blur]).augmentation)
    assert list(map(type, pipeline.transforms)) == [RandomAffine, tio.RandomBlur]
    assert isinstance(pipeline["blur"], tio.RandomBlur)


def test_a_transform_of_an_option_can_be_left_out() -> None:
    config = compose_config(["augmentation=strong", "~augmentation.transforms.mirror"])
    assert "mirror" not in build(config.augmentation).named


def test_seeding_leaves_all_generators_as_they_were() -> None:
    def numbers() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(1))

    with seeded(5):
        first = numbers()
    with seeded(7):
        expected = numbers()
        with seeded(5):
            assert numbers() == first
        following = numbers()
    with seeded(7):
        assert (numbers(), numbers()) == (expected, following)


@pytest.mark.parametrize(
    "name", ["left_hippocampus", "ctx-lh-insula", "Amygdala_R", "RightThalamus", "l-caudate"]
)
def test_a_structure_with_a_side_is_never_mirrored(name: str) -> None:
    label = torch.zeros(4, 4, 4, dtype=torch.uint8)
    label[0] = 1
    sample = torch.randn(1, 4, 4, 4), label, np.eye(4)
    assert torch.equal(augmented(RandomMirror(1.0), *sample, ("brain", name))[1], label)
    assert torch.equal(augmented(RandomMirror(1.0), *sample, ("brain", "vl1"))[1], label.flip(0))


@pytest.mark.parametrize("axes", [0, (1, 0), ("Left",), ("LR",)])
def test_torchios_flip_of_structures_with_sides_is_refused(axes: object) -> None:
    pipeline = Augmentation({"flip": tio.RandomFlip(axes)})
    try_augmentation(pipeline, *small_sample(), ("a", "b"))
    with pytest.raises(ValueError, match=r"augmentation\.transforms\.flip must not mirror left"):
        try_augmentation(pipeline, *small_sample(), ("left_a", "b"))


def test_a_flip_of_other_axes_may_have_structures_with_sides() -> None:
    try_augmentation(tio.RandomFlip((1, 2)), *small_sample(), ("left_a", "b"))


def new_label(subject: tio.Subject) -> tio.Subject:
    subject["label"].data[..., 0] = 1
    return subject


def half_label(subject: tio.Subject) -> tio.Subject:
    subject["label"].set_data(subject["label"].data / 4)
    return subject


def large_label(subject: tio.Subject) -> tio.Subject:
    subject["label"].set_data(subject["label"].data.int() * 128)
    return subject


def broken(subject: tio.Subject) -> tio.Subject:
    raise KeyError("t1")


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (tio.Crop(2), r"must keep the shape of a sample, got 8 x 10 x 6 of 12 x 14 x 10; data\.pa"),
        (tio.Resample(3), r"must keep the shape of a sample"),
        (tio.RandomBlur(p=0.0), None),
        (tio.Lambda(lambda x: x / 0, types_to_apply=[tio.INTENSITY]), r"must keep intensities fin"),
        (new_label, r"must keep the labels of a sample, got a new one, 1"),
        (large_label, r"must keep the labels of a sample, got a new one, 256"),
        (half_label, r"must keep the labels of a sample, got a new one, 0\.5"),
        (broken, r"cannot be applied to a sample: 't1'"),
    ],
)
def test_what_a_transform_may_not_do_is_refused_by_its_name(
    transform: Transform, message: str | None
) -> None:
    pipeline = Augmentation({"affine": RandomAffine(), "mine": transform})
    if message is None:
        try_augmentation(pipeline, *small_sample(), ())
        return
    with pytest.raises(ValueError, match=rf"^augmentation\.transforms\.mine {message}"):
        try_augmentation(pipeline, *small_sample(), ())


def test_a_seldom_transform_is_tried_too() -> None:
    with pytest.raises(ValueError, match=r"transforms\.crop must keep the shape"):
        try_augmentation(Augmentation({"crop": tio.Crop(2, p=1e-9)}), *small_sample(), ())


def test_a_shape_that_a_later_transform_restores_is_fine() -> None:
    pipeline = Augmentation({"pad": tio.Pad(3), "noise": tio.RandomNoise(), "crop": tio.Crop(3)})
    try_augmentation(pipeline, *small_sample(), ())


def test_a_sample_with_a_strange_label_is_refused_while_training() -> None:
    with pytest.raises(ValueError, match=r"^augmentation must keep the labels"):
        augmented(new_label, *small_sample(), ())
