import numpy as np
import pytest
import torch
from torch import Tensor

from gaborseg.decisions.calibrated import calibrated_scores
from gaborseg.decisions.calibration import AffineCalibration


def example(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Scores (2, 3, 6, 6, 6) that follow a label map (2, 6, 6, 6) with some noise."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(3, (2, 6, 6, 6), generator=generator)
    logits = torch.randn(2, 3, 6, 6, 6, generator=generator)
    logits += 4 * (target[:, None] == torch.arange(3).view(3, 1, 1, 1))
    return logits.softmax(1), target


def fitted(probs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    calibration = AffineCalibration(probs.shape[1])
    calibration.update(probs, target)
    return calibration.compute()


def calibrated_labels(probs: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    return calibrated_scores(probs, scale, offset).argmax(1)


def test_lines_agree_with_numpy() -> None:
    probs, target = example()
    scale, offset = fitted(probs, target)
    for label in range(3):
        score = probs[:, label].double().flatten().numpy()
        want = np.polyfit(score, (target == label).double().flatten().numpy(), deg=1)
        np.testing.assert_allclose([scale[label], offset[label]], want, rtol=1e-9)


def test_batches_add_up() -> None:
    batches = [example(seed) for seed in (1, 2)]
    calibration = AffineCalibration(3)
    for probs, target in batches:
        calibration.update(probs, target)
    together = fitted(*(torch.cat(volumes) for volumes in zip(*batches, strict=True)))
    for got, want in zip(calibration.compute(), together, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=0)


@pytest.mark.parametrize("factor", [1e-6, 1e-3, 1.0])
def test_label_with_tiny_scores_comes_back(factor: float) -> None:
    """A score proportional to the truth but tiny loses every argmax until it is calibrated."""
    _, target = example()
    found = (target[:, None] == torch.arange(3).view(3, 1, 1, 1)).float()
    probs = found * 0.9 + 0.05
    probs[:, 2] = factor * found[:, 2]
    probs[:, 0] += 0.9 * found[:, 2]
    calibrated = calibrated_labels(probs, *fitted(probs, target))
    assert torch.equal(calibrated, target)
    assert (probs.argmax(1) == 2).any() == (factor == 1.0)


def test_constant_scores_become_the_frequency_of_the_label() -> None:
    probs, target = example()
    probs[:, 1] = 0.3
    scale, offset = fitted(probs, target)
    assert scale[1] == 0
    assert offset[1].item() == pytest.approx((target == 1).double().mean().item())


def test_absent_label_never_wins_where_another_is_likely() -> None:
    probs, target = example()
    target = target.clamp_max(1)
    scale, offset = fitted(probs, target)
    assert (scale[2], offset[2]) == (0, 0)
    assert (calibrated_labels(probs, scale, offset) != 2).all()


def test_inverted_scores_are_not_turned_around() -> None:
    probs, target = example()
    probs[:, 1] = 1 - probs[:, 1]
    scale, offset = fitted(probs, target)
    assert scale[1] == 0
    assert offset[1].item() == pytest.approx((target == 1).double().mean().item())


def test_dead_label_does_not_win_everywhere() -> None:
    """Scores of a dead label are constant and large; the others still decide."""
    probs, target = example()
    probs[:, 2] = 0.999
    labels = calibrated_labels(probs, *fitted(probs, target))
    alive = target != 2
    assert (labels[alive] == target[alive]).double().mean() > 0.9


def test_untrained_scores_give_the_most_frequent_label() -> None:
    target = torch.zeros(1, 4, 4, 4, dtype=torch.int64)
    target[0, 0, 0] = torch.tensor([1, 1, 2, 2])
    probs = torch.full((1, 3, 4, 4, 4), 1 / 3)
    assert not calibrated_labels(probs, *fitted(probs, target)).any()


def test_identity_changes_no_decision() -> None:
    probs, _ = example()
    identity = torch.ones(3), torch.zeros(3)
    assert torch.equal(calibrated_labels(probs, *identity), probs.argmax(1))


def test_half_precision_scores_are_summed_in_float64() -> None:
    probs, target = example()
    half = probs.bfloat16()
    for got, want in zip(fitted(half, target), fitted(half.double(), target), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=0)


def test_wrong_shapes_are_named() -> None:
    probs, target = example()
    with pytest.raises(ValueError, match=r"probs must be \(B, 4, \*S\) and target \(B, \*S\)"):
        AffineCalibration(4).update(probs, target)
    with pytest.raises(ValueError, match=r"got \(2, 3, 6, 6, 6\) and \(2, 216\)"):
        AffineCalibration(3).update(probs, target.flatten(1))


def test_a_label_is_fitted_where_it_was_looked_for() -> None:
    whole, part = example(1), example(2)
    calibration = AffineCalibration(3)
    calibration.update(*whole)
    calibration.update(*part, torch.tensor([False, False, True]))
    scale, offset = calibration.compute()
    alone = fitted(*whole)
    both = fitted(*(torch.cat(pair) for pair in zip(whole, part, strict=True)))
    for label, want in enumerate((alone, both, alone)):
        torch.testing.assert_close(scale[label], want[0][label])
        torch.testing.assert_close(offset[label], want[1][label])


def test_a_label_that_nobody_looked_for_keeps_its_score() -> None:
    calibration = AffineCalibration(3)
    calibration.update(*example(), torch.tensor([False, True, False]))
    scale, offset = calibration.compute()
    assert (scale[:2].tolist(), offset[:2].tolist()) == ([1, 1], [0, 0])
