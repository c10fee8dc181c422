import numpy as np
import pytest
import torch
from SimpleITK import ProcessObject

from gaborseg.data import RandomAffine
from gaborseg.data.augmentation import AffineDraw, apply_affine

SHAPE = (24, 30, 18)
ANISOTROPIC = np.diag([1.0, 2.0, 3.0, 1.0])
PIR = np.array([[0, 0, 3.0, 5], [-1.0, 0, 0, 40], [0, -2.0, 0, 9], [0, 0, 0, 1]])


def box(half_width: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """An image and a label map with a box in the middle of the volume."""
    label = torch.zeros(SHAPE, dtype=torch.uint8)
    label[tuple(slice(size // 2 - half_width, size // 2 + half_width) for size in SHAPE)] = 1
    return label[None].float() - 1, label


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
    moved, _ = apply_affine(image, label, affine, AffineDraw(17.0, scale, shift))
    displacement = centre_of_mass(moved[0]) - centre_of_mass(image[0])
    np.testing.assert_allclose(displacement, shift, atol=0.03)


def test_an_impulse_moves_by_whole_voxels_exactly() -> None:
    image, label = torch.zeros(1, *SHAPE), torch.zeros(SHAPE, dtype=torch.uint8)
    image[0, 12, 10, 8], label[12, 10, 8] = 1, 1
    draw = AffineDraw(0.0, 1.0, (3.0, -4.0, 2.0))
    moved_image, moved_label = apply_affine(image, label, ANISOTROPIC, draw)
    assert moved_image[0, 15, 6, 10] == pytest.approx(1.0, abs=1e-5)
    assert moved_label.nonzero().tolist() == [[15, 6, 10]]


def test_scale_above_one_enlarges() -> None:
    image, label = box(half_width=4)
    _, larger = apply_affine(image, label, np.eye(4), AffineDraw(0.0, 1.5, (0.0, 0.0, 0.0)))
    assert larger.sum() == 12**3


def test_rotation_is_about_the_worlds_z_axis() -> None:
    image, label = torch.zeros(1, 9, 9, 9), torch.zeros(9, 9, 9, dtype=torch.uint8)
    label[7, 4, 6] = 1
    _, turned = apply_affine(image, label, np.eye(4), AffineDraw(90.0, 1.0, (0.0, 0.0, 0.0)))
    assert turned.nonzero().tolist() == [[4, 7, 6]]


def test_new_voxels_are_the_channels_minimum_and_background() -> None:
    image = torch.stack([torch.full(SHAPE, 3.0), torch.full(SHAPE, 5.0)])
    image[:, 12, 12, 12] = torch.tensor([-1.0, -2.0])
    label = torch.ones(SHAPE, dtype=torch.uint8)
    draw = AffineDraw(0.0, 1.0, (4.0, 0.0, 0.0))
    moved_image, moved_label = apply_affine(image, label, np.eye(4), draw)
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
    same_image, same_label = RandomAffine(probability=0)(image, label, np.eye(4))
    assert same_image is image
    assert same_label is label


def test_threads_do_not_change_the_result() -> None:
    image, label = torch.rand(1, *SHAPE), box()[1]
    draw = AffineDraw(20.0, 1.1, (1.3, 2.4, -0.7))
    before = ProcessObject.GetGlobalDefaultNumberOfThreads()
    results = []
    for threads in (1, 4):
        ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
        results.append(apply_affine(image, label, ANISOTROPIC, draw))
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
