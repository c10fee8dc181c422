import pytest
import torch

from gaborseg.metrics import case_scores


def maps() -> tuple[torch.Tensor, torch.Tensor]:
    truth = torch.zeros(6, 6, 6, dtype=torch.uint8)
    truth[1:3, 1:3, 1:3] = 1
    prediction = truth.clone()
    prediction[2] = 0
    prediction[5, 5, 5] = 2
    return prediction, truth


def test_dice_and_volumes_are_counted_in_voxels_and_millimetres() -> None:
    scores = case_scores(*maps(), 3, spacing=(1.0, 2.0, 3.0), tolerance=1.0)
    assert scores.dice[0].item() == pytest.approx(2 * 4 / (4 + 8))
    assert scores.volume.tolist() == [4 * 6, 6, 0]
    assert scores.true_volume.tolist() == [8 * 6, 0, 0]


def test_missing_structures_follow_the_rule() -> None:
    scores = case_scores(*maps(), 3, spacing=(1.0, 1.0, 1.0), tolerance=1.0)
    assert (scores.dice[1], scores.nsd[1]) == (0, 0)
    assert scores.hd95[1].item() == pytest.approx(6 * 3**0.5)
    assert all(column[2].isnan() for column in (scores.dice, scores.hd95, scores.nsd))


def test_a_label_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"prediction must lie in 0 \.\.\. 1, got 0 \.\.\. 2"):
        case_scores(*maps(), 1, spacing=(1.0, 1.0, 1.0), tolerance=1.0)


@pytest.mark.parametrize("spacing", [(1, 1, 1), (1.1, 1.0, 1.0)], ids=str)
def test_volumes_are_float64(spacing: tuple[float, ...]) -> None:
    scores = case_scores(*maps(), 3, spacing=spacing, tolerance=1.0)
    assert (scores.volume.dtype, scores.true_volume.dtype) == (torch.float64,) * 2
    assert scores.true_volume[0].item() == pytest.approx(8 * spacing[0], rel=1e-15)


def test_maps_of_sixteen_bits_are_read() -> None:
    prediction, truth = (labels.to(torch.uint16) for labels in maps())
    scores = case_scores(prediction, truth, 3, spacing=(1, 1, 1), tolerance=1.0)
    expected = case_scores(*maps(), 3, spacing=(1, 1, 1), tolerance=1.0)
    torch.testing.assert_close(scores.dice, expected.dice, equal_nan=True)


def test_a_predicted_label_out_of_range_is_refused_beside_unlabelled_structures() -> None:
    prediction, truth = maps()
    prediction[0, 0, 0] = 9
    unlabelled = torch.tensor([False, True, False, False])
    with pytest.raises(ValueError, match=r"prediction must lie in 0 \.\.\. 3"):
        case_scores(prediction, truth, 3, spacing=(1, 1, 1), tolerance=1.0, unlabelled=unlabelled)
