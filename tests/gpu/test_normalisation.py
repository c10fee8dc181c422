"""Normalisation and activation as one: kernels and torch's form against float64."""

import copy
import logging
from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from gaborseg.gpu import Normalised, normalisation, sum_of_normalised, trust
from gaborseg.gpu.group_norm import group_norm
from on_gpu import DEVICE, INTERPRETED, error, largest_error, needs_triton

ACTIVATIONS = [nn.ELU(), nn.ELU(alpha=0.5), nn.LeakyReLU(), nn.ReLU()]
ELU = normalisation.Rule(1.0, exponential=True)

interpreted = pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:invalid value")


def units(
    shape: Sequence[int], groups: int, count: int, activation: nn.Module, mean: float = 0.0
) -> list[Normalised]:
    """Volumes of random values, each with a normalisation of random weights."""
    made = []
    for _ in range(count):
        norm = nn.GroupNorm(groups, shape[1])
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        volume = torch.randn(*shape) + mean
        made.append(Normalised(volume.to(DEVICE), norm.to(DEVICE), activation))
    return made


def with_gradients(function: Callable[..., Tensor], given: Sequence[Normalised]) -> list[Tensor]:
    """The function's result, its gradients by the volumes, and those by all parameters as one."""
    leaves = [unit.volume.clone().requires_grad_() for unit in given]
    result = function(
        [Normalised(leaf, *unit[1:]) for leaf, unit in zip(leaves, given, strict=True)]
    )
    draw = torch.Generator().manual_seed(1)
    grad = torch.randn(result.shape, generator=draw).to(result)
    parameters = [parameter for unit in given for parameter in unit.norm.parameters()]
    grads = torch.autograd.grad(result, [*leaves, *parameters], grad)
    return [result.detach(), *grads[: len(leaves)], torch.cat(grads[len(leaves) :])]


def fused(given: Sequence[Normalised]) -> Tensor:
    rule = normalisation.rule_of(given[0].activation)
    assert rule is not None
    return normalisation.fused_sum(given, rule)


def plain(given: Sequence[Normalised]) -> Tensor:
    return sum(unit.activation(unit.norm(unit.volume)) for unit in given)


def in_torch(given: Sequence[Normalised]) -> Tensor:
    def normalised(unit: Normalised) -> Tensor:
        norm = unit.norm
        return group_norm(unit.volume, norm.weight, norm.bias, norm.num_groups, norm.eps)

    return sum(unit.activation(normalised(unit)) for unit in given)


def in_float64(given: Sequence[Normalised]) -> list[Tensor]:
    wide = [unit._replace(volume=unit.volume.double()) for unit in given]
    return with_gradients(
        plain, [unit._replace(norm=copy.deepcopy(unit.norm).double()) for unit in wide]
    )


@needs_triton
@interpreted
@settings(max_examples=6, deadline=None, derandomize=True)
@given(
    samples=st.integers(1, 2),
    groups=st.integers(1, 2),
    width=st.integers(1, 3),
    size=st.tuples(st.integers(1, 4), st.integers(2, 5), st.integers(3, 9)),
    count=st.integers(1, 2),
    activation=st.sampled_from(ACTIVATIONS),
)
def test_kernels_are_exact(
    samples: int,
    groups: int,
    width: int,
    size: tuple[int, int, int],
    count: int,
    activation: nn.Module,
) -> None:
    given = units((samples, groups * width, *size), groups, count, activation)
    assert largest_error(with_gradients(fused, given), in_float64(given)) < 1e-6


@pytest.mark.skipif(not INTERPRETED, reason="compiled kernels keep their constants")
def test_many_chunks_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    from gaborseg.gpu.kernels import normalisation_backward, normalisation_forward

    few = type(normalisation_forward.PARTIALS)(4)
    for module in (normalisation_forward, normalisation_backward):
        monkeypatch.setattr(module, "PARTIALS", few)
    monkeypatch.setattr(normalisation, "_BLOCK", 16)
    given = units((1, 2, 5, 3, 5), 1, 2, nn.ELU())
    assert largest_error(with_gradients(fused, given), in_float64(given)) < 1e-6


@needs_triton
@interpreted
def test_a_large_mean_costs_no_digits() -> None:
    given = units((1, 4, 8, 9, 10), 2, 2, nn.ELU(), mean=1e3)
    assert largest_error(with_gradients(fused, given), in_float64(given)) < 1e-6


@needs_triton
def test_an_outlier_at_the_start_costs_no_digits() -> None:
    given = units((1, 2, 8, 9, 10), 1, 1, nn.ELU())
    given[0].volume[..., 0, 0, 0] = 1e3
    assert largest_error(with_gradients(fused, given), in_float64(given)) < 1e-6


@needs_triton
@interpreted
def test_one_voxel_is_normalised_over_the_channels_of_its_group() -> None:
    given = units((1, 6, 1, 1, 1), 2, 1, nn.ELU())
    assert largest_error(with_gradients(fused, given), in_float64(given)) < 3e-6


@needs_triton
@interpreted
def test_a_constant_group_becomes_its_biases() -> None:
    (unit,) = units((1, 4, 3, 3, 3), 2, 1, nn.ELU())
    unit.volume[:, :2] = 1e3 + 1 / 3
    result, *gradients = with_gradients(fused, [unit])
    biases = F.elu(unit.norm.bias[:2]).view(1, 2, 1, 1, 1).expand(1, 2, 3, 3, 3)
    torch.testing.assert_close(result[:, :2], biases)
    assert all(gradient.isfinite().all() for gradient in gradients)


@needs_triton
@interpreted
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_a_nan_spoils_its_group_alone(activation: nn.Module) -> None:
    (unit,) = units((2, 2, 3, 3, 3), 2, 1, activation)
    unit.volume[1, 1, 1, 1, 1] = torch.nan
    result, by_volume, *_ = with_gradients(fused, [unit])
    for tensor in (result, by_volume):
        assert tensor[1, 1].isnan().all()
        assert tensor[0].isfinite().all()
        assert tensor[1, 0].isfinite().all()


@needs_triton
def test_the_layout_of_a_volume_does_not_matter() -> None:
    (unit,) = units((1, 4, 3, 5, 4), 2, 1, nn.ELU())
    turned = unit._replace(volume=unit.volume.to(memory_format=torch.channels_last_3d))
    for ours, want in zip(
        with_gradients(fused, [turned]), with_gradients(fused, [unit]), strict=True
    ):
        torch.testing.assert_close(ours, want, rtol=0, atol=0)


@needs_triton
def test_kernels_are_trusted_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    trust.trusted.cache_clear()
    (unit,) = units((1, 4, 3, 3, 3), 2, 1, nn.ELU())
    with torch.inference_mode():
        result = sum_of_normalised(unit)
    assert not caplog.records
    assert torch.equal(result, fused([unit]))


@needs_triton
def test_a_wrong_kernel_is_replaced_by_its_twin_and_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    right = normalisation._forward

    def wrong(*args: object) -> tuple[Tensor, Tensor]:
        result, statistics = right(*args)
        return result + 1e-3, statistics

    monkeypatch.setattr(normalisation, "_forward", wrong)
    trust.trusted.cache_clear()
    given = units((1, 4, 3, 3, 3), 2, 2, nn.ELU())
    results = [sum_of_normalised(*given) for _ in range(2)]
    trust.trusted.cache_clear()
    assert all(torch.equal(result, in_torch(given)) for result in results)
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "normalisation on cpu: torch's operators, as Triton's kernel differs by" in warning


@pytest.mark.parametrize("count", [1, 2])
def test_torchs_form_is_exact(count: int) -> None:
    given = units((2, 6, 3, 4, 5), 3, count, nn.ELU())
    assert largest_error(with_gradients(in_torch, given), in_float64(given)) < 1e-6


def test_the_gradients_of_torchs_form_are_right() -> None:
    shapes = (2, 6, 2, 3, 2), (6,), (6,)
    leaves = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(lambda *args: group_norm(*args, groups=3, eps=1e-5), leaves)


def test_torchs_form_keeps_bfloat16_with_statistics_in_float32() -> None:
    (unit,) = units((1, 4, 8, 8, 8), 2, 1, nn.Identity(), mean=3.0)
    unit = unit._replace(volume=unit.volume.bfloat16())
    with torch.autocast(DEVICE.type, torch.bfloat16):
        result, by_volume, by_parameters = with_gradients(in_torch, [unit])
    want, *_ = in_float64([unit])
    assert result.dtype == by_volume.dtype == torch.bfloat16
    assert by_parameters.dtype == torch.float32
    assert error(result, want) < 2**-8
    assert result.double().mean().sub(want.mean()).abs() < 1e-3


def test_an_activation_that_the_kernels_do_not_know_follows_torchs_form() -> None:
    activation = nn.PReLU(4).to(DEVICE)
    given = units((1, 4, 3, 4, 5), 2, 2, activation)
    torch.testing.assert_close(sum_of_normalised(*given), plain(given))


def test_another_normalisation_runs_as_it_is() -> None:
    unit = Normalised(torch.randn(1, 4, 3, 4, 5, device=DEVICE), nn.InstanceNorm3d(4), nn.ELU())
    assert torch.equal(sum_of_normalised(unit), plain([unit]))
