"""Targets, scores and reductions as MONAI's losses have them, against MONAI and against numpy."""

import numpy as np
import pytest
import torch
from monai.losses import DiceLoss as MonaiDice
from monai.losses import TverskyLoss as MonaiTversky
from torch import Tensor, nn

from gaborseg.losses import (
    CCCLoss,
    CrossEntropyLoss,
    DiceCELoss,
    DiceLoss,
    ExpLogLoss,
    JaccardLoss,
    PCCLoss,
    TverskyLoss,
)

LOSSES = [CCCLoss, CrossEntropyLoss, DiceCELoss, DiceLoss, ExpLogLoss, JaccardLoss, PCCLoss]
LOSSES += [TverskyLoss]
BY_LABEL = [CCCLoss, DiceLoss, JaccardLoss, PCCLoss, TverskyLoss]
SAMPLES, LABELS, SIDE = 2, 3, 4
EPSILON = 1e-7  # voxels, as in our losses of overlap

each = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)
by_label = pytest.mark.parametrize("loss", BY_LABEL, ids=lambda loss: loss.__name__)
reductions = pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
backgrounds = pytest.mark.parametrize("background", [True, False])


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(SAMPLES, LABELS, SIDE, SIDE, SIDE, dtype=torch.float64)


@pytest.fixture
def labels() -> Tensor:
    return torch.randint(LABELS, (SAMPLES, SIDE, SIDE, SIDE))


@pytest.fixture
def overlapping() -> Tensor:
    return torch.randint(2, (SAMPLES, LABELS, SIDE, SIDE, SIDE))


def one_hot(labels: Tensor) -> Tensor:
    return nn.functional.one_hot(labels, LABELS).movedim(-1, 1)


@each
@pytest.mark.parametrize("dtype", [torch.long, torch.float32, torch.bool])
def test_a_target_may_be_one_hot(
    loss: type[nn.Module], dtype: torch.dtype, logits: Tensor, labels: Tensor
) -> None:
    assert torch.equal(loss()(logits, one_hot(labels).to(dtype)), loss()(logits, labels))


@each
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_target_may_have_a_channel_of_its_own(
    loss: type[nn.Module], dtype: torch.dtype, logits: Tensor, labels: Tensor
) -> None:
    assert torch.equal(loss()(logits, labels[:, None].to(dtype)), loss()(logits, labels))


def test_gradients_do_not_depend_on_the_form(logits: Tensor, labels: Tensor) -> None:
    grads = []
    for target in (labels, one_hot(labels).float()):
        leaf = logits.clone().requires_grad_()
        PCCLoss()(leaf, target).backward()
        grads.append(leaf.grad)
    torch.testing.assert_close(*grads, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (torch.full((1, 1, 2, 2), 0.5), "must be of whole labels, got fractions"),
        (torch.full((1, 3, 2, 2), 0.5), "must be of zeros and ones"),
        (torch.ones(1, 3, 2, 2), "a single 1 in every voxel; .* sigmoid=True"),
        (torch.ones(1, 2, 2, 2), r"logits must be \(B, C, \*S\) and target \(B, \*S\)"),
    ],
)
def test_a_target_that_can_only_be_guessed_is_refused(target: Tensor, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=f"{message}|integer type"):
        DiceLoss()(torch.randn(1, 3, 2, 2), target)


def test_an_unknown_reduction_is_refused() -> None:
    with pytest.raises(ValueError, match="reduction must be one of mean, sum, none, got 'avg'"):
        PCCLoss(reduction="avg")  # type: ignore[arg-type]


@by_label
@reductions
def test_reductions_are_of_the_values_of_samples_and_labels(
    loss: type[nn.Module], reduction: str, logits: Tensor, labels: Tensor
) -> None:
    table = loss().per_label(logits, labels)  # type: ignore[operator]
    wanted = {"mean": table.mean(), "sum": table.sum(), "none": table}[reduction]
    torch.testing.assert_close(loss(reduction=reduction)(logits, labels), wanted)


@reductions
@backgrounds
def test_dice_is_monais(reduction: str, background: bool, logits: Tensor, labels: Tensor) -> None:
    options = {"include_background": background, "reduction": reduction}
    smooth = {"smooth_nr": EPSILON, "smooth_dr": EPSILON}
    theirs = MonaiDice(softmax=True, to_onehot_y=True, **options, **smooth)(logits, labels[:, None])
    ours = DiceLoss(**options)(logits, labels[:, None])  # type: ignore[arg-type]
    torch.testing.assert_close(ours, theirs.reshape(ours.shape))


@reductions
@backgrounds
def test_dice_of_overlapping_structures_is_monais(
    reduction: str, background: bool, logits: Tensor, overlapping: Tensor
) -> None:
    options = {"include_background": background, "reduction": reduction, "sigmoid": True}
    theirs = MonaiDice(**options, smooth_nr=EPSILON, smooth_dr=EPSILON)(logits, overlapping)
    ours = DiceLoss(**options)(logits, overlapping)  # type: ignore[arg-type]
    torch.testing.assert_close(ours, theirs.reshape(ours.shape))


@pytest.mark.parametrize("sigmoid", [True, False])
def test_tversky_and_jaccard_are_monais(sigmoid: bool, logits: Tensor, labels: Tensor) -> None:
    score = {"sigmoid": True} if sigmoid else {"softmax": True}
    target = one_hot(labels)
    smooth = {"smooth_nr": EPSILON, "smooth_dr": EPSILON}
    theirs = MonaiTversky(alpha=0.2, beta=0.6, **score, **smooth)(logits, target)
    torch.testing.assert_close(TverskyLoss(0.2, 0.6, sigmoid=sigmoid)(logits, target), theirs)
    smooth = {"smooth_nr": 2 * EPSILON, "smooth_dr": 2 * EPSILON}
    theirs = MonaiDice(jaccard=True, **score, **smooth)(logits, target)
    torch.testing.assert_close(JaccardLoss(sigmoid=sigmoid)(logits, target), theirs)


def test_correlations_of_overlapping_structures_are_numpys(
    logits: Tensor, overlapping: Tensor
) -> None:
    scores, truth = (x.flatten(2).double().numpy() for x in (logits.sigmoid(), overlapping))
    r, c = np.empty((2, SAMPLES, LABELS))
    for at in np.ndindex(r.shape):
        p, y = scores[at], truth[at]
        r[at] = np.corrcoef(p, y)[0, 1]
        c[at] = 2 * np.cov(p, y, bias=True)[0, 1] / (p.var() + y.var() + (p.mean() - y.mean()) ** 2)
    table = PCCLoss(sigmoid=True, reduction="none")(logits, overlapping)
    np.testing.assert_allclose(table.numpy(), (1 - r) / 2, rtol=1e-9)
    table = CCCLoss(sigmoid=True, reduction="none")(logits, overlapping)
    np.testing.assert_allclose(table.numpy(), (1 - c) / 2, rtol=1e-9)


def test_labels_are_the_structures_of_a_sigmoid(logits: Tensor, labels: Tensor) -> None:
    loss = PCCLoss(sigmoid=True)
    assert torch.equal(loss(logits, labels), loss(logits, one_hot(labels)))


def test_the_gradient_of_a_sigmoid_is_right(overlapping: Tensor) -> None:
    leaf = torch.randn(1, LABELS, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    target = overlapping[:1, :, :2, :2, :2]
    assert torch.autograd.gradcheck(lambda x: CCCLoss(sigmoid=True)(x, target), (leaf,))


@pytest.mark.parametrize("loss", [CrossEntropyLoss, DiceCELoss, ExpLogLoss])
def test_losses_by_voxel_have_no_sigmoid(loss: type[nn.Module]) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'sigmoid'"):
        loss(sigmoid=True)


@pytest.mark.parametrize("label", [-1, 255])
def test_labels_out_of_range_are_refused_with_a_sigmoid_too(label: int) -> None:
    logits = torch.zeros(1, LABELS, SIDE, SIDE, SIDE)
    target = torch.full((1, SIDE, SIDE, SIDE), label)
    with pytest.raises(RuntimeError, match=f"target must be of 0 ... {LABELS - 1}, got {label}"):
        DiceLoss(sigmoid=True)(logits, target)


@each
@pytest.mark.parametrize("shape", [(0, 2, 4), (1, 2, 0)], ids=["no sample", "no voxel"])
def test_nothing_has_no_loss(loss: type[nn.Module], shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="logits must have a sample, a channel and a voxel"):
        loss()(torch.zeros(shape), torch.zeros(shape[0], shape[2], dtype=torch.long))


def test_a_target_of_sixteen_bits_is_refused_in_words_too() -> None:
    target = torch.tensor([[0, 3]]).to(torch.uint16)
    with pytest.raises(RuntimeError, match=r"target must be of 0 \.\.\. 1, got 3"):
        PCCLoss()(torch.zeros(1, 2, 2), target)


@each
def test_forward_mode_derivatives_are_refused_instead_of_being_zero(loss: type[nn.Module]) -> None:
    logits, target = torch.randn(1, 2, 8), torch.tensor([[0, 1] * 4])
    with pytest.raises(NotImplementedError, match="use reverse mode"):
        torch.func.jvp(lambda x: loss()(x, target), (logits,), (logits,))
