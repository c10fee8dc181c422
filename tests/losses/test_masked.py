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
    weight = (target != IGNORE).double().flatten(1).unsqueeze(1)
    y = F.one_hot(target.flatten(1) % IGNORE, 3).mT.double() * weight
    log_p = logits.log_softmax(1).flatten(2)
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
