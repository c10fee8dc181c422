import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion
from scipy.spatial.distance import cdist
from torch import Tensor

from gaborseg.metrics import surface_scores, voxel_tolerance
from gaborseg.metrics.surface import SurfaceScores
from gaborseg.scans import voxel_sides

SPACING = (0.7, 1.1, 2.3)
TOLERANCE = 1.3  # no distance between voxel centres equals it


def random_maps(shape: tuple[int, ...] = (12, 10, 9), labels: int = 6) -> tuple[Tensor, Tensor]:
    """Blobs of labels 1 ... 3; only the truth has 4, only the prediction 5, nobody 6."""
    coarse = torch.randint(0, 4, (2, *(-(-side // 2) for side in shape)))
    for axis in range(1, coarse.ndim):
        coarse = coarse.repeat_interleave(2, dim=axis)
    prediction, truth = coarse[(slice(None), *map(slice, shape))].clone()
    truth.flatten()[:3] = 4
    prediction.flatten()[-5:] = 5
    return prediction, truth


def brute_force(prediction: NDArray, truth: NDArray, label: int) -> tuple[float, float]:
    """HD95 and NSD from the distances of all pairs of surface voxels."""
    surfaces = []
    for labels in (prediction, truth):
        mask = labels == label
        surfaces.append(np.argwhere(mask & ~binary_erosion(mask)) * SPACING)
    distances = cdist(*surfaces)
    there, back = distances.min(axis=1), distances.min(axis=0)
    within = np.count_nonzero(there <= TOLERANCE) + np.count_nonzero(back <= TOLERANCE)
    hd95 = max(np.percentile(there, 95), np.percentile(back, 95))
    return float(hd95), within / (len(there) + len(back))


def score(prediction: Tensor, truth: Tensor, num_structures: int = 1) -> SurfaceScores:
    spacing = (1.0,) * truth.ndim
    return surface_scores(prediction, truth, num_structures, spacing=spacing, tolerance=1.0)


def cube(start: int, stop: int) -> Tensor:
    labels = torch.zeros(16, 16, 16, dtype=torch.uint8)
    labels[start:stop, 4:8, 4:8] = 1
    return labels


def test_scores_are_those_of_all_pairs_of_surface_voxels() -> None:
    for _ in range(5):
        prediction, truth = random_maps()
        scores = surface_scores(prediction, truth, 3, spacing=SPACING, tolerance=TOLERANCE)
        for label in (1, 2, 3):
            want = brute_force(prediction.numpy(), truth.numpy(), label)
            got = scores.hd95[label - 1].item(), scores.nsd[label - 1].item()
            assert got == pytest.approx(want, abs=1e-9)


@pytest.mark.filterwarnings("ignore:the (prediction|ground truth) of class")
@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy")
def test_scores_are_monais() -> None:
    metrics = pytest.importorskip("monai.metrics")
    for _ in range(3):
        prediction, truth = random_maps((20, 17, 11))
        onehot = [torch.eye(7)[labels].movedim(-1, 0)[None] for labels in (prediction, truth)]
        hd95 = metrics.compute_hausdorff_distance(*onehot, percentile=95, spacing=SPACING)[0]
        nsd = metrics.compute_surface_dice(*onehot, [TOLERANCE] * 6, spacing=SPACING)[0]
        ours = surface_scores(prediction, truth, 6, spacing=SPACING, tolerance=TOLERANCE)
        torch.testing.assert_close(ours.hd95[:3].float(), hd95[:3], rtol=0, atol=1e-4)
        torch.testing.assert_close(ours.nsd.float(), nsd, rtol=0, atol=1e-4, equal_nan=True)
        assert not hd95[3:].isfinite().any()  # MONAI: infinite or NaN where ours is the diagonal


def test_a_cube_that_is_moved_is_as_far_away_as_it_was_moved() -> None:
    assert score(cube(4, 8), cube(6, 10)).hd95.item() == 2


def test_millimetres_are_counted_not_voxels() -> None:
    moved = surface_scores(cube(4, 8), cube(5, 9), 1, spacing=(3.0, 1.0, 1.0), tolerance=2.9)
    assert moved.hd95.item() == 3
    assert 0 < moved.nsd.item() < 1


def test_equal_maps_have_no_distance() -> None:
    scores = score(cube(4, 8), cube(4, 8))
    assert (scores.hd95.item(), scores.nsd.item()) == (0, 1)


@pytest.mark.parametrize("side", [208 / 48, 208 / 128, 0.1, 1 / 3])
def test_a_distance_of_exactly_the_tolerance_is_within_it(side: float) -> None:
    spacing = (side, side, side)
    scores = surface_scores(cube(4, 8), cube(5, 9), 1, spacing=spacing, tolerance=side)
    assert scores.nsd.item() == 1


def test_a_single_voxel_is_all_surface() -> None:
    assert score(cube(4, 5)[:, 4:5, 4:5], cube(7, 8)[:, 4:5, 4:5]).hd95.item() == 3


def test_the_border_of_the_image_is_a_surface() -> None:
    whole = torch.ones(5, 5, 5).int()
    inner = torch.nn.functional.pad(whole[2:, 2:, 2:], (1, 1, 1, 1, 1, 1))
    assert score(whole, inner).hd95.item() == pytest.approx(3**0.5, abs=0.2)
    assert score(whole, whole).nsd.item() == 1


def test_a_structure_that_both_lack_has_no_scores() -> None:
    scores = score(cube(4, 8), cube(4, 8), num_structures=2)
    assert scores.hd95.isnan().tolist() == scores.nsd.isnan().tolist() == [False, True]


@pytest.mark.parametrize("predicted", [True, False])
def test_a_structure_that_one_lacks_gets_the_worst_scores(predicted: bool) -> None:
    maps = [cube(4, 8), torch.zeros_like(cube(4, 8))]
    prediction, truth = maps if predicted else maps[::-1]
    scores = surface_scores(prediction, truth, 1, spacing=(1.0, 2.0, 2.0), tolerance=100)
    assert scores.hd95.item() == pytest.approx(16 * math.sqrt(1 + 4 + 4))
    assert scores.nsd.item() == 0


def test_maps_may_have_two_dimensions() -> None:
    assert score(torch.eye(5).int(), torch.eye(5).int().roll(1, 0)).hd95.item() >= 1


def test_prediction_and_truth_may_change_places() -> None:
    first, second = random_maps()
    there, back = score(first, second, 5), score(second, first, 5)
    torch.testing.assert_close(there, back, rtol=0, atol=0)


def test_wrong_arguments_are_named() -> None:
    labels = torch.zeros(2, 2, 2).int()
    with pytest.raises(ValueError, match=r"share a shape, got \(2, 2, 2\) and \(2, 2\)"):
        score(labels, labels[0])
    for spacing in ((1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 1.0, math.inf)):
        with pytest.raises(ValueError, match="spacing must be 3 positive numbers, got"):
            surface_scores(labels, labels, 1, spacing=spacing, tolerance=1)
    for tolerance in (-1, math.nan):
        with pytest.raises(ValueError, match="tolerance must be a finite number of 0 mm or more"):
            surface_scores(labels, labels, 1, spacing=(1.0, 1.0, 1.0), tolerance=tolerance)


def test_the_sides_of_a_voxel_are_those_of_its_affine() -> None:
    turned = np.array([[0, -2.0, 0, 5], [3.0, 0, 0, 6], [0, 0, 1.0, 7], [0, 0, 0, 1]])
    assert voxel_sides(turned).tolist() == [3, 2, 1]


def test_the_tolerance_is_the_longest_side_of_all_voxels() -> None:
    assert voxel_tolerance([np.diag([1.0, 2.0, 1.0, 1.0]), np.diag([1.5, 1.5, 1.5, 1.0])]) == 2
