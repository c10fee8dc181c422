import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from gaborseg.losses.ccc import concordance_correlation
from gaborseg.losses.exp_log import label_means, log_likelihood
from gaborseg.losses.overlap import dice, jaccard, tversky
from gaborseg.losses.pcc import pearson_correlation
from gaborseg.losses.statistics import LabelStatistics, label_statistics

SPACE = (6, 5, 4)


def example(num_classes: int = 4, batch: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random float64 logits (B, C, *S) and a label map (B, *S) that has every label."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, num_classes, *SPACE, dtype=torch.float64, generator=generator)
    target = torch.randint(num_classes, (batch, *SPACE), generator=generator)
    target[:, 0, 0, :num_classes] = torch.arange(num_classes)
    return logits, target


def statistics_of(p: Tensor, y: Tensor) -> LabelStatistics:
    """Statistics of any scores and 0/1 labels of shape (B, C, N), straight from the definition."""
    p, y = p.double(), y.double()
    sums = [map.sum(-1) for map in (p, p * p, p * y, y, torch.xlogy(y, p))]
    return LabelStatistics(p.shape[-1], *sums)


def flat_pair(logits: Tensor, target: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Softmax scores and one-hot labels, (B, C, N), by numpy."""
    scores = np.exp(logits.numpy())
    onehot = target.numpy()[:, None] == np.arange(logits.shape[1])[:, None, None, None]
    scores, onehot = scores / scores.sum(1, keepdims=True), onehot.astype(float)
    return scores.reshape(*scores.shape[:2], -1), onehot.reshape(*onehot.shape[:2], -1)


def test_statistics_are_the_sums_of_their_definition() -> None:
    logits, target = example()
    p, y = flat_pair(logits, target)
    got = label_statistics(logits, target)
    assert got.voxels == math.prod(SPACE)
    for sums, want in zip(got[1:], (p, p**2, p * y, y, y * np.log(p)), strict=True):
        np.testing.assert_allclose(sums.numpy(), want.sum(-1), rtol=1e-13)


def test_correlation_agrees_with_numpy() -> None:
    logits, target = example()
    p, y = flat_pair(logits, target)
    got = pearson_correlation(label_statistics(logits, target))
    want = [[np.corrcoef(p[b, c], y[b, c])[0, 1] for c in range(4)] for b in range(2)]
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-12)


def test_concordance_agrees_with_its_definition() -> None:
    logits, target = example()
    p, y = flat_pair(logits, target)
    covariance = ((p - p.mean(-1, keepdims=True)) * (y - y.mean(-1, keepdims=True))).mean(-1)
    want = 2 * covariance / (p.var(-1) + y.var(-1) + (p.mean(-1) - y.mean(-1)) ** 2)
    got = concordance_correlation(label_statistics(logits, target))
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-12)


@pytest.mark.parametrize(("scale", "offset"), [(0.25, 0.1), (1e-6, 0.0), (1.0, 0.3)])
def test_affine_scores_keep_the_correlation_and_change_the_concordance(
    scale: float, offset: float
) -> None:
    logits, target = example()
    p, y = (torch.from_numpy(array) for array in flat_pair(logits, target))
    before, after = statistics_of(p, y), statistics_of(scale * p + offset, y)
    torch.testing.assert_close(
        pearson_correlation(after), pearson_correlation(before), rtol=1e-7, atol=1e-9
    )
    shift = scale * before.mean_p + offset - before.mean_y
    spread = scale**2 * before.variance_p + before.variance_y + shift**2
    torch.testing.assert_close(
        concordance_correlation(after), 2 * scale * before.covariance / spread, rtol=1e-7, atol=0
    )


@pytest.mark.parametrize("score", [pearson_correlation, concordance_correlation])
def test_perfect_scores_have_1_and_inverted_ones_minus_1(
    score: Callable[[LabelStatistics], Tensor],
) -> None:
    y = torch.zeros(1, 1, 64)
    y[..., :32] = 1
    assert score(statistics_of(y, y)).item() == pytest.approx(1, abs=1e-12)
    assert score(statistics_of(1 - y, y)).item() == pytest.approx(-1, abs=1e-12)


def test_tiny_scores_that_match_one_voxel_still_correlate_perfectly() -> None:
    """Scores near 1e-6, where an epsilon of 1e-7 inside the root would give 0.975 or less."""
    logits = torch.zeros(1, 2, 16, 16, 16)
    target = torch.zeros(1, 16, 16, 16, dtype=torch.int64)
    target[0, 3, 4, 5] = 1
    logits[:, 1] = -30
    logits[:, 1][target == 1] = math.log(1e-6)
    correlation = pearson_correlation(label_statistics(logits, target))
    assert correlation[0, 1].item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("score", [pearson_correlation, concordance_correlation])
def test_absent_label_has_exactly_0_and_no_gradient(
    score: Callable[[LabelStatistics], Tensor],
) -> None:
    logits, target = example()
    target = target.clamp_max(2)
    logits = logits.float().requires_grad_()
    absent = score(label_statistics(logits, target))[:, 3]
    absent.sum().backward()
    assert absent.tolist() == [0, 0]
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_constant_scores_have_exactly_0_correlation_and_no_gradient(dtype: torch.dtype) -> None:
    _, target = example()
    bias = torch.tensor([3.0, 0.1, -7.0, -20.0], dtype=dtype).view(1, 4, 1, 1, 1)
    logits = bias.expand(2, 4, *SPACE).clone().requires_grad_()
    correlation = pearson_correlation(label_statistics(logits, target))
    correlation.sum().backward()
    assert not correlation.any()
    assert logits.grad is not None
    assert not logits.grad.any()


def test_concordance_pulls_constant_scores_towards_the_label() -> None:
    _, target = example()
    logits = torch.zeros(2, 4, *SPACE, requires_grad=True)
    concordance_correlation(label_statistics(logits, target)).sum().backward()
    assert logits.grad is not None
    own = logits.grad.gather(1, target[:, None])
    assert torch.isfinite(logits.grad).all()
    assert (own > 0).all()


def test_overlaps_agree_with_numpy() -> None:
    logits, target = example()
    p, y = flat_pair(logits, target)
    hits, false, missed = (p * y).sum(-1), (p * (1 - y)).sum(-1), ((1 - p) * y).sum(-1)
    statistics = label_statistics(logits, target)
    for got, want in [
        (dice(statistics), 2 * hits / (2 * hits + false + missed)),
        (jaccard(statistics), hits / (hits + false + missed)),
        (tversky(statistics, 0.2, 0.9), hits / (hits + 0.2 * false + 0.9 * missed)),
    ]:
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-7)


def test_empty_against_empty_overlaps_perfectly() -> None:
    nothing = statistics_of(torch.zeros(1, 1, 8), torch.zeros(1, 1, 8))
    assert [f(nothing).item() for f in (dice, jaccard)] == [1, 1]


def test_log_likelihood_agrees_with_torch() -> None:
    logits, target = example()
    want = -torch.nn.functional.cross_entropy(logits, target, reduction="none")
    torch.testing.assert_close(log_likelihood(logits, target), want)


def test_label_means_average_each_labels_own_voxels() -> None:
    values = torch.tensor([[1.0, 2.0, 6.0, 5.0]])
    target = torch.tensor([[0, 2, 2, 0]], dtype=torch.uint8)
    want = torch.tensor([[3, float("nan"), 4]], dtype=torch.float64)
    torch.testing.assert_close(label_means(values, target, 3), want, equal_nan=True)


@pytest.mark.parametrize("function", [label_statistics, log_likelihood])
def test_wrong_inputs_are_named(function: Callable[[Tensor, Tensor], object]) -> None:
    logits, target = example()
    with pytest.raises(TypeError, match=r"target must be of an integer type, got torch\.float64"):
        function(logits, target.double())
    with pytest.raises(TypeError, match=r"target must be of an integer type, got torch\.bool"):
        function(logits, target > 0)
    with pytest.raises(TypeError, match=r"logits must be floating, got torch\.int64"):
        function(logits.long(), target)
    with pytest.raises(ValueError, match=r"logits must be \(B, C, \*S\) and target \(B, \*S\)"):
        function(logits, target[:, None])


@pytest.mark.parametrize("function", [label_statistics, log_likelihood])
def test_label_out_of_range_is_an_error(function: Callable[[Tensor, Tensor], object]) -> None:
    logits, target = example()
    target[0, 0, 0, 0] = 4
    with pytest.raises(RuntimeError, match="out of bounds"):
        function(logits, target)
