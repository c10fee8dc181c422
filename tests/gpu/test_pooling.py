"""Max pooling against torch's: values and gradients are the same, bit for bit."""

import logging
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from gaborseg.gpu import max_pool, pooling, trust
from on_gpu import DEVICE, needs_triton

FORMS = [
    pytest.param(pooling.fused_max_pool, marks=needs_triton, id="triton"),
    pytest.param(pooling.plain_max_pool, id="torch"),
]
Pool = Callable[[Tensor], Tensor]


def stock(x: Tensor) -> Tensor:
    return F.max_pool3d(x, 2)


def with_gradient(pool: Pool, x: Tensor) -> tuple[Tensor, Tensor]:
    """The maxima, and the gradient by x of their sum weighted 1, 2, 3 ..., on the CPU."""
    leaf = x.clone().requires_grad_()
    result = pool(leaf)
    grad = torch.arange(1.0, result.numel() + 1).view(result.shape).to(result)
    (gradient,) = torch.autograd.grad(result, leaf, grad)
    return result.detach().cpu(), gradient.cpu()


def assert_same(pool: Pool, x: Tensor) -> None:
    for ours, want in zip(with_gradient(pool, x.to(DEVICE)), with_gradient(stock, x), strict=True):
        torch.testing.assert_close(ours, want, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("pool", FORMS)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    batch=st.tuples(st.integers(1, 2), st.integers(1, 3)),
    size=st.tuples(st.integers(2, 5), st.integers(2, 5), st.integers(2, 21)),
)
def test_maxima_and_gradients_are_torchs(
    pool: Pool, batch: tuple[int, int], size: tuple[int, int, int]
) -> None:
    """Of few different values: the first of several maxima gets the gradient."""
    assert_same(pool, torch.randint(4, (*batch, *size)).float())


@pytest.mark.parametrize("pool", FORMS)
def test_a_line_longer_than_a_tile_is_pooled(pool: Pool) -> None:
    assert_same(pool, torch.randn(1, 1, 2, 2, 2 * pooling._VOXELS + 5))


@pytest.mark.parametrize("pool", FORMS)
@pytest.mark.parametrize("voxel", range(8))
def test_a_nan_is_not_hidden(pool: Pool, voxel: int) -> None:
    x = torch.randn(1, 1, 2, 2, 4)
    x[0, 0, voxel // 4, voxel // 2 % 2, voxel % 2] = torch.nan
    assert_same(pool, x)


@pytest.mark.parametrize("pool", FORMS)
def test_minus_infinity_is_a_maximum_where_nothing_is_larger(pool: Pool) -> None:
    assert_same(pool, torch.full((1, 1, 2, 2, 4), -torch.inf))


@pytest.mark.parametrize("pool", FORMS)
def test_the_layout_of_a_volume_does_not_matter(pool: Pool) -> None:
    assert_same(pool, torch.randn(2, 3, 4, 5, 6).to(memory_format=torch.channels_last_3d))


def test_half_precision_is_pooled_as_it_is() -> None:
    assert_same(pooling.plain_max_pool, torch.randn(1, 2, 4, 4, 6).bfloat16())


@needs_triton
def test_kernels_are_trusted_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    trust.trusted.cache_clear()
    with torch.inference_mode():
        assert trust.trusted(pooling._CHECK, DEVICE)
    assert not caplog.records


@needs_triton
def test_a_wrong_kernel_is_found_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(
        pooling._FusedMaxPool, "backward", lambda ctx, grad: grad.new_zeros(ctx.shape)
    )
    trust.trusted.cache_clear()
    assert not trust.trusted(pooling._CHECK, DEVICE)
    trust.trusted.cache_clear()
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "max pooling on" in warning


def test_on_a_cpu_torch_pools() -> None:
    x = torch.randn(1, 2, 4, 5, 6)
    assert torch.equal(max_pool(x), stock(x))
