import pytest
import torch
from torchmetrics.functional.segmentation import dice_score

from gaborseg.metrics import confusion_counts, dice_from_counts, mean_dice, structure_means
from gaborseg.metrics.overlap import dice_from_sizes

NAN = float("nan")


def test_counts_are_indexed_by_true_and_predicted_label() -> None:
    prediction, target = torch.tensor([[0, 1, 1], [2, 2, 0]]), torch.tensor([[0, 0, 1], [2, 1, 0]])
    want = [[[1, 1, 0], [0, 1, 0], [0, 0, 0]], [[1, 0, 0], [0, 0, 1], [0, 0, 1]]]
    counts = confusion_counts(prediction, target, num_classes=3)
    assert counts.dtype == torch.int64
    assert counts.tolist() == want


def test_counts_of_small_integer_types_do_not_overflow() -> None:
    labels = torch.full((3, 10, 10, 10), 19, dtype=torch.uint8)
    counts = confusion_counts(labels, labels.to(torch.int16), num_classes=20)
    assert counts[:, 19, 19].tolist() == [1000, 1000, 1000]
    assert counts.sum() == 3000


@pytest.mark.parametrize("bad", [-1, 3])
def test_label_out_of_range_is_named(bad: int) -> None:
    good, wrong = torch.zeros(1, 4, dtype=torch.int64), torch.tensor([[0, bad, 1, 2]])
    with pytest.raises(ValueError, match=r"prediction must lie in 0 \.\.\. 2, got"):
        confusion_counts(wrong, good, 3)
    with pytest.raises(ValueError, match=r"target must lie in 0 \.\.\. 2, got"):
        confusion_counts(good, wrong, 3)


def test_different_shapes_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"share a shape, got \(1, 4\) and \(1, 5\)"):
        confusion_counts(torch.zeros(1, 4).long(), torch.zeros(1, 5).long(), 2)


def test_dice_agrees_with_torchmetrics() -> None:
    generator = torch.Generator().manual_seed(0)
    prediction, target = torch.randint(5, (2, 3, 8, 8, 8), generator=generator)
    want = dice_score(
        prediction, target, 5, input_format="index", average="none", aggregation_level="samplewise"
    )
    got = dice_from_counts(confusion_counts(prediction, target, 5))
    assert got.dtype == torch.float64
    torch.testing.assert_close(got, want.double(), rtol=1e-6, atol=0)


def test_dice_is_nan_where_absent_from_both_and_0_where_only_one_has_it() -> None:
    prediction, target = torch.tensor([[0, 1, 0, 0]]), torch.tensor([[0, 0, 2, 0]])
    dice = dice_from_counts(confusion_counts(prediction, target, 4))
    want = torch.tensor([[2 * 2 / (3 + 3), 0, 0, NAN]], dtype=torch.float64)
    torch.testing.assert_close(dice, want, equal_nan=True)


def test_dice_from_sizes_is_exact_for_large_counts() -> None:
    sizes = (torch.tensor(3 * 2**40 + offset) for offset in (0, 1, 1))
    assert dice_from_sizes(*sizes).item() == 1 - 1 / (3 * 2**40 + 1)


def test_mean_dice_weighs_subjects_equally_and_leaves_absent_structures_out() -> None:
    table = torch.tensor([[1.0, NAN, NAN], [0.2, 0.4, 0.6]], dtype=torch.float64)
    assert mean_dice(table).item() == pytest.approx((1.0 + 0.4) / 2)


def test_mean_dice_leaves_out_a_subject_without_structures() -> None:
    assert mean_dice(torch.tensor([[NAN, NAN], [0.5, 0.7]])).item() == pytest.approx(0.6)


def test_structure_means_leave_out_subjects_without_the_structure() -> None:
    table = torch.tensor([[1.0, NAN, NAN], [0.2, 0.4, NAN]])
    want = torch.tensor([0.6, 0.4, NAN])
    torch.testing.assert_close(structure_means(table), want, equal_nan=True)
