"""Sums of scores and labels, log-likelihoods and their gradients by Triton, against float64."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gaborseg.losses import on_gpu as losses_on_gpu
from gaborseg.losses.pcc import pearson_correlation
from gaborseg.losses.slabs import SlabLogLikelihood, SlabSums
from gaborseg.losses.statistics import LabelStatistics
from on_gpu import DEVICE, error, needs_triton

Function = Callable[[Tensor, Tensor], Tensor]
PAIRS = {
    "sums": (losses_on_gpu._GpuSums.apply, SlabSums.apply),
    "likelihood": (losses_on_gpu._GpuLogLikelihood.apply, SlabLogLikelihood.apply),
}
each_function = pytest.mark.parametrize("name", PAIRS)
interpreted = pytest.mark.filterwarnings("ignore:invalid value", "ignore:overflow encountered")


def volume(samples: int, labels: int, *size: int) -> tuple[Tensor, Tensor]:
    """Logits in float64, float32-exact, and labels."""
    draw = torch.Generator().manual_seed(samples + labels)
    logits = (4 * torch.randn(samples, labels, *size, generator=draw)).double()
    return logits, torch.randint(labels, (samples, *size), generator=draw)


def with_gradient(function: Function, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    leaf = logits.clone().requires_grad_()
    value = function(leaf, target)
    draw = torch.Generator().manual_seed(3)
    weights = torch.randn(value.shape, generator=draw, dtype=torch.float64).to(value)
    (gradient,) = torch.autograd.grad(value, leaf, weights)
    return value.detach().cpu().double(), gradient.cpu().double()


def errors(name: str, logits: Tensor, target: Tensor) -> list[float]:
    ours, reference = PAIRS[name]
    got = with_gradient(ours, logits.float().to(DEVICE), target.to(DEVICE))
    want = with_gradient(reference, logits, target)
    return [error(*pair) for pair in zip(got, want, strict=True)]


@needs_triton
@each_function
@pytest.mark.parametrize("labels", [2, 3, 20])
def test_values_and_gradients_are_exact(name: str, labels: int) -> None:
    assert max(errors(name, *volume(2, labels, 5, 6, 7))) < 1e-6


@needs_triton
@each_function
def test_of_many_labels_few_digits_are_lost(name: str) -> None:
    value, gradient = errors(name, *volume(2, 64, 5, 6, 7))
    assert value < 1e-6
    assert gradient < 2e-6  # a sum of 64 products in float32


@needs_triton
@each_function
@settings(max_examples=4, deadline=None)
@given(
    samples=st.integers(1, 3),
    labels=st.integers(1, 9),
    size=st.tuples(*[st.integers(1, 12)] * 3),
    dtype=st.sampled_from([torch.uint8, torch.int16, torch.int32, torch.int64]),
)
def test_any_shape_and_integer_type(
    name: str, samples: int, labels: int, size: tuple[int, ...], dtype: torch.dtype
) -> None:
    logits, target = volume(samples, labels, *size)
    value, gradient = errors(name, logits, target.to(dtype))
    assert max(value, gradient) < 1e-6


@needs_triton
def test_scores_far_from_each_other_are_0_and_1() -> None:
    logits = torch.tensor([[[1e4, -1e4], [-1e4, 1e4]]])
    sums = PAIRS["sums"][0](logits.to(DEVICE), torch.tensor([[0, 1]]).to(DEVICE)).cpu()
    expected = torch.tensor([[1.0, 1.0]]).expand(4, 1, 2).double()
    torch.testing.assert_close(sums[:4], expected)
    torch.testing.assert_close(sums[4], torch.zeros(1, 2).double())


@needs_triton
def test_a_label_of_tiny_scores_has_the_gradient_of_an_ordinary_one() -> None:
    def gradient(function: Function, logits: Tensor, target: Tensor) -> Tensor:
        leaf = logits.clone().requires_grad_()
        statistics = LabelStatistics(target[0].numel(), *function(leaf, target))
        (result,) = torch.autograd.grad(pearson_correlation(statistics).sum(), leaf)
        return result.cpu().double()

    ours, reference = PAIRS["sums"]
    logits, target = volume(2, 3, 4, 4, 4)
    logits[:, 2] -= 60
    got = gradient(ours, logits.float().to(DEVICE), target.to(DEVICE))
    torch.testing.assert_close(got, gradient(reference, logits, target), rtol=1e-4, atol=1e-7)


@needs_triton
@interpreted
def test_not_a_number_is_not_hidden() -> None:
    logits, target = volume(1, 3, 4, 4, 4)
    logits[0, 1, 0, 0, 0] = torch.nan
    sums = PAIRS["sums"][0](logits.float().to(DEVICE), target.to(DEVICE))
    assert sums[:2].isnan().all()


@needs_triton
@each_function
def test_the_layout_of_the_logits_does_not_matter(name: str) -> None:
    logits, target = volume(1, 3, 4, 5, 6)
    turned = logits.transpose(2, 4).contiguous().transpose(2, 4)
    assert errors(name, turned, target) == errors(name, logits, target)


@needs_triton
@each_function
def test_the_same_comes_out_every_time(name: str) -> None:
    logits, target = volume(2, 20, 9, 8, 7)
    moved = logits.float().to(DEVICE), target.to(DEVICE)
    first, second = (with_gradient(PAIRS[name][0], *moved) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@needs_triton
@each_function
@pytest.mark.parametrize("dtype", [torch.float16])
def test_half_precision_gives_gradients_of_its_own(name: str, dtype: torch.dtype) -> None:
    logits, target = volume(1, 4, 4, 4, 4)
    half = logits.to(dtype)
    got = with_gradient(PAIRS[name][0], half.to(DEVICE), target.to(DEVICE))
    want = with_gradient(PAIRS[name][1], half.double(), target)
    assert max(error(*pair) for pair in zip(got, want, strict=True)) < 1e-3


@needs_triton
@each_function
def test_kernels_agree_with_their_twins(name: str) -> None:
    difference = losses_on_gpu._difference(*PAIRS[name], 20, torch.float32, DEVICE)
    assert difference < losses_on_gpu._ROUNDING


def test_more_labels_than_registers_hold_go_through_torch() -> None:
    logits = torch.zeros(1, 300, 8)
    chosen = losses_on_gpu._function("sums", *PAIRS["sums"], logits)
    assert chosen is PAIRS["sums"][1]
