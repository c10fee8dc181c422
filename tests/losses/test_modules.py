import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torchmetrics.functional.segmentation import dice_score, mean_iou

from config import CONF
from gaborseg import losses
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
from gaborseg.losses.base import SegmentationLoss

SPACE = (4, 5, 3)
CONFIGS = sorted((CONF / "loss").glob("*.yaml"))
LOSSES = [type(instantiate(OmegaConf.load(path))) for path in CONFIGS]

every_loss = pytest.mark.parametrize("kind", LOSSES)
with_and_without_background = pytest.mark.parametrize("background", [True, False])


def example(num_classes: int = 4, batch: int = 2) -> tuple[Tensor, Tensor]:
    """Random float64 logits (B, C, *S) and a label map (B, *S) that has every label."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(batch, num_classes, *SPACE, dtype=torch.float64, generator=generator)
    target = torch.randint(num_classes, (batch, *SPACE), generator=generator)
    target[:, 0, :num_classes, 0] = torch.arange(num_classes)
    return logits, target


def sharp(target: Tensor, num_classes: int = 4) -> Tensor:
    """Logits that are certain of a label map."""
    return 50.0 * F.one_hot(target, num_classes).movedim(-1, 1).double()


@every_loss
@with_and_without_background
def test_gradient(kind: type[SegmentationLoss], background: bool) -> None:
    logits, target = (volume[..., :2, :4, :1] for volume in example())
    loss = kind(include_background=background)
    assert torch.autograd.gradcheck(loss, (logits.requires_grad_(), target))
    assert torch.autograd.gradcheck(loss.per_label, (logits, target))


@every_loss
def test_float32_agrees_with_float64(kind: type[SegmentationLoss]) -> None:
    logits, target = example()
    wide, narrow = logits.requires_grad_(), logits.detach().float().requires_grad_()
    want, got = kind()(wide, target), kind()(narrow, target)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), want, rtol=1e-6, atol=0)
    (want_grad,), (grad,) = torch.autograd.grad(want, wide), torch.autograd.grad(got, narrow)
    torch.testing.assert_close(grad.double(), want_grad, rtol=1e-4, atol=1e-8)


@every_loss
def test_half_precision_logits_are_summed_in_float32(kind: type[SegmentationLoss]) -> None:
    logits, target = example()
    half = logits.bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = kind()(half, target)
    assert got.dtype == torch.float32
    assert got.item() == pytest.approx(kind()(half.double(), target).item(), rel=1e-6)
    got.backward()
    assert half.grad is not None
    assert half.grad.dtype == torch.bfloat16


@every_loss
@with_and_without_background
def test_batch_of_two_is_the_mean_of_two_singles(
    kind: type[SegmentationLoss], background: bool
) -> None:
    (logits, target), loss = example(), kind(include_background=background)
    singles = [loss(logits[b : b + 1], target[b : b + 1]) for b in range(2)]
    torch.testing.assert_close(loss(logits, target), torch.stack(singles).mean())


@every_loss
def test_memory_layout_of_the_logits_does_not_matter(kind: type[SegmentationLoss]) -> None:
    logits, target = example()
    padded = F.pad(logits, (1, 2, 0, 1, 1, 0))[..., 1:, :-1, 1:-2]
    channels_last = logits.to(memory_format=torch.channels_last_3d)
    for other in (padded, channels_last):
        leaf, view = logits.clone().requires_grad_(), other.requires_grad_()
        torch.testing.assert_close(kind()(view, target), kind()(leaf, target))
        grads = [torch.autograd.grad(kind()(x, target), x)[0] for x in (view, leaf)]
        torch.testing.assert_close(*grads)


@every_loss
def test_two_dimensional_images_work_too(kind: type[SegmentationLoss]) -> None:
    logits, target = example()
    flat = kind()(logits.flatten(3), target.flatten(2).to(torch.uint8))
    torch.testing.assert_close(flat, kind()(logits, target))


@every_loss
def test_values_per_label_follow_the_background_option(kind: type[SegmentationLoss]) -> None:
    logits, target = example()
    everything = kind().per_label(logits, target)
    assert everything.shape == (2, 4)
    structures = kind(include_background=False).per_label(logits, target)
    torch.testing.assert_close(structures, everything[:, 1:])


@pytest.mark.parametrize("kind", [PCCLoss, CCCLoss, DiceLoss, JaccardLoss, TverskyLoss])
@with_and_without_background
def test_overlap_losses_are_the_mean_over_labels(
    kind: type[SegmentationLoss], background: bool
) -> None:
    (logits, target), loss = example(), kind(include_background=background)
    torch.testing.assert_close(loss(logits, target), loss.per_label(logits, target).mean())


@every_loss
def test_perfect_logits_have_no_loss(kind: type[SegmentationLoss]) -> None:
    _, target = example()
    assert kind()(sharp(target), target).item() == pytest.approx(0, abs=0.02)


@every_loss
@with_and_without_background
def test_absent_label_and_extreme_logits_stay_finite(
    kind: type[SegmentationLoss], background: bool
) -> None:
    _, target = example()
    logits = (20 * sharp((target + 1) % 4).float()).requires_grad_()
    loss = kind(include_background=background)(logits, target.clamp_max(2))
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@every_loss
@pytest.mark.parametrize("everywhere", [True, False])
def test_logits_that_are_no_numbers_are_not_hidden(
    kind: type[SegmentationLoss], everywhere: bool
) -> None:
    logits, target = torch.randn(1, 3, 4, 4, 4), torch.randint(3, (1, 4, 4, 4))
    logits[0, :, :, 0 if not everywhere else slice(None)] = torch.nan
    assert kind()(logits, target).isnan()


@pytest.mark.parametrize("kind", [PCCLoss, CCCLoss])
def test_absent_label_has_a_correlation_loss_of_one_half(kind: type[SegmentationLoss]) -> None:
    logits, target = example()
    absent = kind().per_label(logits.requires_grad_(), target.clamp_max(2))[:, 3]
    absent.sum().backward()
    assert absent.tolist() == [0.5, 0.5]
    assert logits.grad is not None
    assert not logits.grad.any()


def test_inverted_scores_have_a_correlation_loss_of_one() -> None:
    target = torch.zeros(1, *SPACE, dtype=torch.int64)
    target[:, :2] = 1
    assert PCCLoss()(sharp(1 - target, 2), target).item() == pytest.approx(1)


def test_dice_and_jaccard_of_certain_logits_agree_with_torchmetrics() -> None:
    logits, target = example()
    prediction = logits.argmax(1)
    want = dice_score(
        prediction, target, 4, input_format="index", average="none", aggregation_level="samplewise"
    )
    got = 1 - DiceLoss().per_label(sharp(prediction), target)
    torch.testing.assert_close(got, want, check_dtype=False, rtol=1e-6, atol=1e-6)
    want = mean_iou(prediction, target, 4, per_class=True, input_format="index")
    got = 1 - JaccardLoss().per_label(sharp(prediction), target)
    torch.testing.assert_close(got, want, check_dtype=False, rtol=1e-6, atol=1e-6)


def test_cross_entropy_agrees_with_torch() -> None:
    logits, target = example()
    torch.testing.assert_close(CrossEntropyLoss()(logits, target), F.cross_entropy(logits, target))
    per_label = CrossEntropyLoss().per_label(logits, target)
    surprise = F.cross_entropy(logits, target, reduction="none")
    torch.testing.assert_close(per_label[1, 2], surprise[1][target[1] == 2].mean())


def test_cross_entropy_without_background_ignores_its_voxels() -> None:
    logits, target = example(batch=1)
    want = F.cross_entropy(logits, target, ignore_index=0)
    loss = CrossEntropyLoss(include_background=False)
    torch.testing.assert_close(loss(logits, target), want)
    assert loss(logits, torch.zeros_like(target)).item() == 0


def test_cross_entropy_of_an_absent_label_is_nan_in_the_table_only() -> None:
    logits, target = example()
    target = target.clamp_max(2)
    assert CrossEntropyLoss().per_label(logits, target).isnan().tolist() == [[0, 0, 0, 1]] * 2
    assert CrossEntropyLoss()(logits, target).isfinite()


def test_dice_ce_is_the_weighted_sum() -> None:
    logits, target = example()
    parts = 2 * DiceLoss()(logits, target) + 3 * CrossEntropyLoss()(logits, target)
    loss = DiceCELoss(dice_weight=2, cross_weight=3)
    torch.testing.assert_close(loss(logits, target), parts)


def test_exponential_logarithmic_loss_agrees_with_its_definition() -> None:
    logits, target = example(batch=1)
    p, y = logits.softmax(1)[0].flatten(1), F.one_hot(target[0].flatten(), 4).T.double()
    overlap = 2 * (p * y).sum(1) / (p + y).sum(1)
    weights = (y.sum() / y.sum(1)).sqrt()
    cross = (weights[:, None] * y * (-p.log()) ** 0.4).sum(0).mean()
    want = 0.7 * ((-overlap.log()) ** 0.4).mean() + 0.3 * cross
    loss = ExpLogLoss(gamma=0.4, dice_weight=0.7, cross_weight=0.3)
    torch.testing.assert_close(loss(logits, target), want, rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", [PCCLoss, CCCLoss, DiceLoss, CrossEntropyLoss])
def test_memory_beside_the_logits_is_about_one_gradient(kind: type[SegmentationLoss]) -> None:
    """Largest sum of live allocations, from the allocator's own events; a one-hot map fails it."""
    logits = torch.randn(1, 20, 48, 48, 48, requires_grad=True)
    target = torch.randint(20, (1, 48, 48, 48))
    size = logits.numel() * logits.element_size()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        kind()(logits, target).backward()
    live = peak = 0
    for event in trace.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    assert size <= peak < 2 * size


@pytest.mark.parametrize("name", ["alpha", "beta"])
def test_tversky_weights_must_be_positive(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be positive, got -1"):
        TverskyLoss(**{name: -1})


def test_losses_are_printed_and_copied_like_modules() -> None:
    loss = copy.deepcopy(PCCLoss(include_background=False))
    assert repr(loss) == "PCCLoss(include_background=False)"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_builds_its_loss(path: Path) -> None:
    logits, target = example()
    loss = instantiate(OmegaConf.load(path))
    assert isinstance(loss, SegmentationLoss)
    torch.testing.assert_close(loss(logits, target), type(loss)()(logits, target))


def test_every_loss_of_the_public_face_has_a_config() -> None:
    public = {name for name in losses.__all__ if name.endswith("Loss")} - {
        "StatisticsLoss",
        "MaskedLoss",
    }
    assert public <= {kind.__name__ for kind in LOSSES}
