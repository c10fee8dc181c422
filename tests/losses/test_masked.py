import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gaborseg import losses
from gaborseg.losses import MaskedLoss, sums
from gaborseg.losses.base import SegmentationLoss
from gaborseg.losses.sums import native_available

IGNORE = 255
LOSSES = [
    losses.PCCLoss,
    losses.CCCLoss,
    losses.DiceLoss,
    losses.JaccardLoss,
    losses.TverskyLoss,
    losses.CrossEntropyLoss,
    losses.DiceCELoss,
    losses.ExpLogLoss,
]


@pytest.fixture(params=["native", "slabs"])
def _path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to the sums."""
    if request.param == "slabs":
        monkeypatch.setattr(sums, "native", lambda: None)
    elif not native_available():
        pytest.skip("no compiler")


def example() -> tuple[Tensor, Tensor]:
    """Float64 logits (2, 3, *S) and label maps that have every label and voxels without one."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(2, 3, 4, 5, 6, dtype=torch.float64, generator=generator)
    target = torch.randint(3, (2, 4, 5, 6), generator=generator)
    target[torch.rand(target.shape, generator=generator) < 0.3] = IGNORE
    target[1, 2:] = IGNORE
    return logits.requires_grad_(), target


def naive(name: str, logits: Tensor, target: Tensor) -> Tensor:
    """The loss by weighting every sum over voxels with 0 or 1, with a one-hot volume."""
    return of_scores(name, logits.log_softmax(1), target)


def of_scores(name: str, log_p: Tensor, target: Tensor) -> Tensor:
    weight = (target != IGNORE).double().flatten(1).unsqueeze(1)
    y = F.one_hot(target.flatten(1) % IGNORE, log_p.shape[1]).mT.double() * weight
    log_p = log_p.flatten(2)
    p, n = log_p.exp() * weight, weight.sum(-1)
    mean_p, mean_y = p.sum(-1) / n, y.sum(-1) / n
    dp, dy = (p - mean_p[..., None]) * weight, (y - mean_y[..., None]) * weight
    overlap, sum_p, sum_y = (p * y).sum(-1), p.sum(-1), y.sum(-1)
    surprise = -(log_p * y).sum(1)
    cross = (surprise.sum(1) / n[:, 0]).mean()
    dice = (2 * overlap + 1e-7) / (sum_p + sum_y + 1e-7)
    false_p, false_n = sum_p - overlap, sum_y - overlap
    shift = mean_p - mean_y
    label_weight = ((y.sum(-1, keepdim=True) / n[..., None]).rsqrt() * y).sum(1)
    values = {
        "PCCLoss": 0.5 - 0.5 * (dp * dy).sum(-1) / (dp.norm(dim=-1) * dy.norm(dim=-1)),
        "CCCLoss": 0.5
        - (dp * dy).sum(-1) / (dp.square().sum(-1) + dy.square().sum(-1) + n * shift.square()),
        "DiceLoss": 1 - dice,
        "JaccardLoss": 1 - (overlap + 1e-7) / (sum_p + sum_y - overlap + 1e-7),
        "TverskyLoss": 1 - (overlap + 1e-7) / (overlap + 0.3 * false_p + 0.7 * false_n + 1e-7),
        "CrossEntropyLoss": cross,
        "DiceCELoss": (1 - dice).mean() + cross,
        "ExpLogLoss": 0.8 * (-dice.log()).pow(0.3).mean()
        + 0.2 * ((label_weight * (surprise + (y.sum(1) == 0)).pow(0.3)).sum(1) / n[:, 0]).mean(),
    }
    return values[name].mean()


@pytest.mark.usefixtures("_path")
@pytest.mark.parametrize("kind", LOSSES, ids=lambda kind: kind.__name__)
def test_value_and_gradient_are_those_of_masked_sums(kind: type[SegmentationLoss]) -> None:
    logits, target = example()
    got, want = MaskedLoss(kind(), IGNORE)(logits, target), naive(kind.__name__, logits, target)
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12)
    gradients = [torch.autograd.grad(value, logits)[0] for value in (got, want)]
    torch.testing.assert_close(*gradients, rtol=1e-7, atol=1e-12)
    assert gradients[0].movedim(1, -1)[target == IGNORE].abs().max() == 0


def test_without_such_voxels_it_is_the_loss_itself() -> None:
    logits, target = example()
    target = target % IGNORE
    assert torch.equal(
        MaskedLoss(losses.PCCLoss())(logits, target), losses.PCCLoss()(logits, target)
    )


def test_a_sample_without_labels_has_no_part() -> None:
    logits, target = example()
    target[0] = IGNORE
    loss = MaskedLoss(losses.DiceLoss())
    assert torch.equal(loss(logits, target), loss(logits[1:], target[1:]))
    target[1] = IGNORE
    nothing = loss(logits, target)
    assert nothing.item() == 0
    assert torch.autograd.grad(nothing, logits)[0].abs().max() == 0


def test_a_label_that_is_neither_is_still_refused() -> None:
    logits, target = example()
    target[0, 0, 0, 0] = 7
    with pytest.raises(RuntimeError):
        MaskedLoss(losses.PCCLoss())(logits, target)


@pytest.mark.usefixtures("_path")
@pytest.mark.parametrize("kind", LOSSES, ids=lambda kind: kind.__name__)
def test_unlabelled_structures_are_background_with_the_sum_of_their_scores(
    kind: type[SegmentationLoss],
) -> None:
    logits, target = example()
    logits = torch.cat([logits, 1.5 - logits[:, :2].detach()], dim=1)  # five labels
    unlabelled = torch.tensor([[0, 1, 0, 0, 1], [0, 0, 0, 1, 1]]).bool()
    target[0][target[0] == 1] = 3
    got = MaskedLoss(kind(), IGNORE)(logits, target, unlabelled)
    p = logits.softmax(1)
    first = torch.stack([p[0, 0] + p[0, 1] + p[0, 4], p[0, 2], p[0, 3]])
    second = torch.stack([p[1, 0] + p[1, 3] + p[1, 4], p[1, 1], p[1, 2]])
    for label in (2, 3):
        target[0][target[0] == label] = label - 1
    want = of_scores(kind.__name__, torch.stack([first, second]).log(), target)
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12)
    gradients = [torch.autograd.grad(value, logits, retain_graph=True)[0] for value in (got, want)]
    torch.testing.assert_close(*gradients, rtol=1e-7, atol=1e-12)


def test_samples_without_unlabelled_structures_keep_all_labels() -> None:
    logits, target = example()
    target = target % IGNORE % 2
    unlabelled = torch.tensor([[False] * 3, [False, False, True]])
    loss = losses.DiceLoss()
    got = MaskedLoss(loss, None)(logits, target, unlabelled)
    merged = torch.stack([logits[1, [0, 2]].logsumexp(0), logits[1, 1]])[None]
    torch.testing.assert_close(got, (loss(logits[:1], target[:1]) + loss(merged, target[1:])) / 2)


def test_what_is_labelled_everywhere_has_the_loss_itself() -> None:
    logits, target = example()
    target = target % IGNORE
    got = MaskedLoss(losses.PCCLoss(), None)(logits, target, torch.zeros(2, 3, dtype=torch.bool))
    assert torch.equal(got, losses.PCCLoss()(logits, target))


WRONG = [(..., slice(4)), (slice(1),), (0,)]


@pytest.mark.parametrize("part", WRONG, ids=["fewer voxels", "fewer samples", "no batch"])
def test_a_target_of_another_shape_is_refused_whatever_its_labels(part: tuple) -> None:
    logits, target = example()
    with pytest.raises(ValueError, match=r"logits must be \(B, C, \*S\) and target \(B, \*S\)"):
        MaskedLoss(losses.PCCLoss())(logits, target[part])


def test_labels_out_of_range_are_refused_where_labels_are_merged() -> None:
    logits, target = example()
    unlabelled = torch.tensor([[False, True, False]] * 2)
    with pytest.raises(RuntimeError, match=r"target must be of 0 \.\.\. 2, got 255"):
        MaskedLoss(losses.PCCLoss(), ignore=None)(logits, target, unlabelled)


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("background", [True, False])
def test_a_sample_in_which_nothing_was_looked_for_has_no_part(
    kind: type[SegmentationLoss], background: bool
) -> None:
    logits, target = example()
    target = torch.where(target == IGNORE, 0, target)
    unlabelled = torch.tensor([[False, True, True], [False, False, False]])
    loss = kind(include_background=background)
    target[0] = 0
    value = MaskedLoss(loss)(logits, target, unlabelled)
    torch.testing.assert_close(value, loss(logits[1:], target[1:]))


def test_channels_of_their_own_are_left_out_where_they_were_not_looked_for() -> None:
    logits, target = example()
    target = torch.where((target == IGNORE) | (target == 1), 0, target)
    unlabelled = torch.tensor([[False, True, False]] * 2)
    loss = losses.DiceLoss(sigmoid=True)
    value = MaskedLoss(loss)(logits, target, unlabelled)
    torch.testing.assert_close(value, loss(logits[:, ::2], target // 2))
    (grad,) = torch.autograd.grad(value, logits)
    assert not grad[:, 1].any()
    assert grad[:, 2].any()
