"""Expected calibration errors: closed forms, and a plain computation in numpy."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from gaborseg.metrics import calibration_errors


def of_two(structure: Tensor) -> Tensor:
    """Probabilities (2, *S) of background and one structure."""
    return torch.stack([1 - structure, structure])


def binned(probability: NDArray[np.float64], inside: NDArray[np.bool_]) -> float:
    """The error of one structure, bin by bin, from its definition."""
    error, edges = 0.0, np.linspace(0, 1, 16)
    for number in range(15):
        last = number == 14
        upper = probability <= 1 if last else probability < edges[number + 1]
        own = (probability >= edges[number]) & upper
        if own.any():
            error += own.mean() * abs(probability[own].mean() - inside[own].mean())
    return error


def test_errors_are_those_of_the_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    probs = torch.randn(4, 6, 7, 8, generator=generator).mul(2).softmax(0)
    truth = torch.randint(0, 4, (6, 7, 8), generator=generator)
    expected = [
        binned(probs[label].double().numpy().ravel(), truth.numpy().ravel() == label)
        for label in range(1, 4)
    ]
    np.testing.assert_allclose(calibration_errors(probs, truth), expected, rtol=1e-12)


def test_certain_and_right_has_no_error() -> None:
    truth = torch.tensor([0, 1, 1, 0])
    assert calibration_errors(of_two(truth.float()), truth) == 0


def test_probabilities_that_are_frequencies_have_no_error() -> None:
    probability = torch.full((8,), 0.25)
    truth = torch.tensor([1, 0, 0, 0, 1, 0, 0, 0])
    assert calibration_errors(of_two(probability), truth) == 0


def test_one_probability_everywhere_is_off_by_its_distance_from_the_frequency() -> None:
    truth = torch.tensor([1, 1, 1, 0])
    found = calibration_errors(of_two(torch.full((4,), 0.5)), truth)
    assert found == pytest.approx(0.25)


def test_a_structure_without_any_probability_has_its_share_of_the_volume() -> None:
    truth = torch.tensor([1, 0, 0, 0, 0])
    assert calibration_errors(of_two(torch.zeros(5)), truth) == pytest.approx(0.2)


def test_a_structure_that_is_nowhere_has_the_mean_probability() -> None:
    probability = torch.tensor([0.1, 0.3])
    found = calibration_errors(of_two(probability), torch.zeros(2, dtype=torch.long))
    assert found == pytest.approx(0.2)


def test_ignored_voxels_do_not_count() -> None:
    probability, truth = torch.tensor([0.5, 0.5, 1.0, 0.9]), torch.tensor([1, 0, 255, 255])
    assert calibration_errors(of_two(probability), truth, ignore=255) == 0


def test_without_a_labelled_voxel_there_is_no_error() -> None:
    truth = torch.full((3,), 255)
    assert calibration_errors(of_two(torch.rand(3)), truth, ignore=255).isnan().all()


def test_a_structure_that_was_not_looked_for_has_no_error() -> None:
    probs, truth = torch.full((3, 4), 1 / 3), torch.tensor([0, 1, 1, 0])
    found = calibration_errors(probs, truth, unlabelled=torch.tensor([False, False, True]))
    assert found.isnan().tolist() == [False, True]


def test_what_is_no_number_has_no_error() -> None:
    probability = torch.tensor([0.5, torch.nan])
    assert calibration_errors(of_two(probability), torch.tensor([0, 1])).isnan().all()


def test_maps_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got \(2, 3\) and \(4,\)"):
        calibration_errors(torch.rand(2, 3), torch.zeros(4))
