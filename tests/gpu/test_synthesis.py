"""The Triton kernels of synthesis against the definition."""

import sys

import pytest
import torch
from torch import Tensor

from gabor_reference import hard_parameters, naive_gabor_kernel
from gaborseg.gpu import TwinCheck, synthesis, trust, trusted
from gaborseg.layers import spectral
from on_gpu import DEVICE, INTERPRETED, error, needs_triton

PARAMETERS = ("sigma", "theta_y", "theta_z", "A_re", "A_im", "f_re", "f_im", "phase")


@pytest.fixture(autouse=True)
def _few_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter takes as long for a small program as for a large one."""
    if INTERPRETED:
        monkeypatch.setattr(synthesis, "_TAPS_AT_ONCE", 1024)


def forward(parameters: Tensor, kernel_size: int) -> Tensor:
    return synthesis.synthesise_forward(parameters.float().to(DEVICE), kernel_size).cpu()


def backward(grad: Tensor, parameters: Tensor, kernel_size: int) -> Tensor:
    moved = grad.float().to(DEVICE), parameters.float().to(DEVICE)
    return synthesis.synthesise_backward(*moved, kernel_size).cpu()


def cotangent(parameters: Tensor, kernel_size: int) -> Tensor:
    draw = torch.Generator().manual_seed(1)
    _, inputs, outputs = parameters.shape
    return torch.randn(outputs, inputs, *[kernel_size] * 3, generator=draw)


def naive_gradient(grad: Tensor, parameters: Tensor, kernel_size: int) -> Tensor:
    leaf = parameters.clone().requires_grad_()
    (result,) = torch.autograd.grad(naive_gabor_kernel(leaf, kernel_size), leaf, grad.double())
    return result


@needs_triton
@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7, 9])
def test_kernels_are_exact(kernel_size: int) -> None:
    parameters = hard_parameters(5, 7)
    want = naive_gabor_kernel(parameters, kernel_size)
    assert error(forward(parameters, kernel_size), want) < 1e-6


@needs_triton
@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7, 9])
def test_all_eight_gradients_are_exact(kernel_size: int) -> None:
    parameters = hard_parameters(5, 7)
    grad = cotangent(parameters, kernel_size)
    got = backward(grad, parameters, kernel_size)
    want = naive_gradient(grad, parameters, kernel_size)
    errors = dict(zip(PARAMETERS, map(error, got, want), strict=True))
    assert max(errors.values()) < 3e-6, errors


@needs_triton
@pytest.mark.parametrize("channels", [(1, 1), (1, 17), (13, 3)])
def test_any_number_of_channels_fills_its_blocks(channels: tuple[int, int]) -> None:
    parameters = hard_parameters(*channels)
    grad = cotangent(parameters, 7)
    assert error(forward(parameters, 7), naive_gabor_kernel(parameters, 7)) < 1e-6
    assert error(backward(grad, parameters, 7), naive_gradient(grad, parameters, 7)) < 3e-6


@needs_triton
def test_no_channels_give_no_kernels() -> None:
    assert forward(torch.empty(8, 0, 3), 3).shape == (3, 0, 3, 3, 3)
    assert backward(torch.empty(3, 0, 3, 3, 3), torch.empty(8, 0, 3), 3).shape == (8, 0, 3)


@needs_triton
def test_layout_of_the_tensors_does_not_matter() -> None:
    parameters = hard_parameters(3, 2)
    grad = cotangent(parameters, 3)
    turned_parameters = parameters.mT.contiguous().mT
    turned_grad = grad.transpose(0, 4).contiguous().transpose(0, 4)
    assert torch.equal(forward(turned_parameters, 3), forward(parameters, 3))
    assert torch.equal(backward(turned_grad, turned_parameters, 3), backward(grad, parameters, 3))


@needs_triton
def test_sigma_of_zero_is_a_delta_with_no_gradient_of_sigma() -> None:
    parameters = hard_parameters(1, 1)
    parameters[0], parameters[3], parameters[4], parameters[7] = 0, 2, 3, 0
    want = torch.zeros(1, 1, 5, 5, 5)
    want[0, 0, 2, 2, 2] = 2
    torch.testing.assert_close(forward(parameters, 5), want)
    assert backward(cotangent(parameters, 5), parameters, 5)[0].item() == 0


@needs_triton
@pytest.mark.parametrize("extreme", [0.0, 1e-30, 1e6, -1e30])
def test_extreme_parameters_stay_finite(extreme: float) -> None:
    parameters = hard_parameters(6, 2)
    for pair, row in enumerate((0, 1, 2, 5, 6, 7)):
        parameters[row, pair] = extreme
    assert forward(parameters, 5).isfinite().all()
    assert backward(cotangent(parameters, 5), parameters, 5).isfinite().all()


@needs_triton
@pytest.mark.filterwarnings("ignore:invalid value encountered")
@pytest.mark.parametrize("row", range(8), ids=PARAMETERS)
def test_not_a_number_is_not_hidden(row: int) -> None:
    parameters = hard_parameters(1, 2)
    parameters[0], parameters[row, 0, 0] = 1, torch.nan
    broken, sound = forward(parameters, 3)
    assert broken.isnan().all()
    assert sound.isfinite().all()


@needs_triton
@pytest.mark.parametrize("kernel_size", [3, 7])
def test_kernels_that_agree_are_trusted_without_a_word(
    kernel_size: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert trust.trusted.__wrapped__(spectral._synthesis_check(kernel_size), DEVICE)
    assert not caplog.records


@needs_triton
def test_kernels_that_disagree_are_not_trusted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    right = synthesis.synthesise_backward
    monkeypatch.setattr(synthesis, "synthesise_backward", lambda *args: 1.01 * right(*args))
    assert not trust.trusted.__wrapped__(spectral._synthesis_check(3), DEVICE)
    (line,) = caplog.messages
    assert "differs by 1.0e-02" in line


def test_without_triton_there_is_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    check = TwinCheck("synthesis", lambda device: 0.0, 1e-5)
    assert not trusted(check, DEVICE)
    assert not trusted(check, DEVICE)
    (line,) = caplog.messages
    assert line.endswith("triton is not installed")
