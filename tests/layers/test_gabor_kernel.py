import math

import pytest
import torch
from torch import Tensor

from gabor_reference import hard_parameters, naive_gabor_kernel
from gaborseg.layers import gabor_kernel
from gaborseg.layers.gabor import PARAMETERS

SIZES = (1, 3, 5, 7, 9)


def one_pair(**values: float) -> Tensor:
    """Parameters (8, 1, 1) of a plain Gaussian, changed by name."""
    base = dict.fromkeys(PARAMETERS, 0.0) | {"sigma": 1.0, "amplitude_re": 1.0} | values
    return torch.tensor(list(base.values()), dtype=torch.float64).view(8, 1, 1)


def value_and_gradient(kernel: Tensor, parameters: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    (gradient,) = torch.autograd.grad(kernel, parameters, weight.to(kernel.dtype))
    return kernel.detach().double(), gradient.double()


def largest_error(got: Tensor, want: Tensor) -> float:
    return ((got - want).abs().max() / want.abs().max().clamp(min=1e-30)).item()


def errors(dtype: torch.dtype, kernel_size: int) -> tuple[float, float]:
    """Relative errors of the kernel and of the worst of its eight gradients."""
    exact = hard_parameters(8, 6, seed=kernel_size).requires_grad_()
    tested = exact.detach().to(dtype).requires_grad_()
    weight = torch.randn(6, 8, *[kernel_size] * 3, dtype=torch.float64)
    want = value_and_gradient(naive_gabor_kernel(exact, kernel_size), exact, weight)
    got = value_and_gradient(gabor_kernel(tested, kernel_size), tested, weight)
    return largest_error(got[0], want[0]), max(map(largest_error, got[1], want[1]))


@pytest.mark.parametrize("kernel_size", SIZES)
def test_float64_equals_the_naive_grid(kernel_size: int) -> None:
    kernel_error, gradient_error = errors(torch.float64, kernel_size)
    assert kernel_error < 1e-12
    assert gradient_error < 1e-12


@pytest.mark.parametrize("kernel_size", SIZES)
def test_float32_keeps_six_digits_of_the_naive_grid(kernel_size: int) -> None:
    kernel_error, gradient_error = errors(torch.float32, kernel_size)
    assert kernel_error < 1e-6
    assert gradient_error < 3e-6


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_gradient_is_that_of_finite_differences(kernel_size: int) -> None:
    parameters = hard_parameters(2, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: gabor_kernel(p, kernel_size), parameters)


def test_shape_is_outputs_then_inputs_then_space() -> None:
    assert gabor_kernel(hard_parameters(2, 3), 5).shape == (3, 2, 5, 5, 5)


def test_each_pair_has_its_own_parameters() -> None:
    parameters = hard_parameters(2, 3)
    alone = gabor_kernel(parameters[:, 1:, 2:], 5)
    torch.testing.assert_close(gabor_kernel(parameters, 5)[2, 1], alone[0, 0])


def test_centre_voxel_is_the_phasor_of_the_amplitudes() -> None:
    parameters = hard_parameters(4, 4)
    _, _, _, real, imaginary, _, _, phase = parameters.transpose(1, 2)
    want = real * phase.cos() + imaginary * phase.sin()
    torch.testing.assert_close(gabor_kernel(parameters, 7)[..., 3, 3, 3], want)


def test_wide_sigma_gives_plain_waves() -> None:
    x = torch.arange(-3, 4, dtype=torch.float64)
    kernel = gabor_kernel(one_pair(sigma=1e12, frequency_re=0.15, phase=0.4), 7)[0, 0]
    want = torch.cos(2 * math.pi * 0.15 * x + 0.4)
    torch.testing.assert_close(kernel, want[:, None, None].expand(7, 7, 7))


@pytest.mark.parametrize(
    ("axis", "angles"),
    [(0, {}), (1, {"theta_z": -math.pi / 2}), (2, {"theta_y": math.pi / 2})],
)
def test_angles_turn_the_wave_onto_each_axis(axis: int, angles: dict[str, float]) -> None:
    kernel = gabor_kernel(one_pair(sigma=1e12, amplitude_im=0.5, frequency_im=0.2, **angles), 5)
    x = torch.arange(-2, 3, dtype=torch.float64)
    along = 1 + 0.5 * torch.sin(2 * math.pi * 0.2 * x)
    want = along.view([5 if a == axis else 1 for a in range(3)]).expand(5, 5, 5)
    torch.testing.assert_close(kernel[0, 0], want)


def test_without_waves_it_is_a_product_of_gaussians() -> None:
    line = torch.exp(-(torch.arange(-3, 4, dtype=torch.float64) ** 2) / (2 * 1.7**2))
    want = torch.einsum("x,y,z->xyz", line, line, line)
    torch.testing.assert_close(gabor_kernel(one_pair(sigma=1.7), 7)[0, 0], want)


def test_cosine_is_even_and_sine_is_odd_in_space() -> None:
    turned = {"theta_y": 0.6, "theta_z": 1.1}
    even = gabor_kernel(one_pair(frequency_re=0.2, **turned), 5)
    odd = gabor_kernel(one_pair(amplitude_re=0.0, amplitude_im=1.0, frequency_im=0.2, **turned), 5)
    torch.testing.assert_close(even.flip(2, 3, 4), even)
    torch.testing.assert_close(odd.flip(2, 3, 4), -odd)


def test_smaller_kernel_is_the_middle_of_a_larger_one() -> None:
    parameters = hard_parameters(2, 2)
    middle = gabor_kernel(parameters, 7)[..., 1:-1, 1:-1, 1:-1]
    torch.testing.assert_close(gabor_kernel(parameters, 5), middle)


def test_sign_of_sigma_changes_nothing() -> None:
    parameters = hard_parameters(3, 3)
    mirrored = torch.cat((-parameters[:1], parameters[1:]))
    assert torch.equal(gabor_kernel(parameters, 5), gabor_kernel(mirrored, 5))


def test_sigma_zero_is_a_delta_with_zero_gradient() -> None:
    parameters = one_pair(sigma=0.0, frequency_re=0.2, phase=0.3).requires_grad_()
    kernel = gabor_kernel(parameters, 5)
    kernel.square().sum().backward()
    assert kernel.count_nonzero() == 1
    assert kernel[0, 0, 2, 2, 2].item() == pytest.approx(math.cos(0.3))
    assert parameters.grad is not None
    assert parameters.grad[0].item() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [0.0, 1e-38, 1e-20, 1e-3, 0.03, 1e4, 1e20, 1e30])
@pytest.mark.parametrize("name", PARAMETERS)
def test_extreme_parameters_stay_finite(name: str, size: float, dtype: torch.dtype) -> None:
    signs = torch.tensor([1.0, -1.0], dtype=dtype).view(1, 2, 1)
    ordinary = torch.tensor([1.0, 0.5, -2.0, 1.0, 0.3, 0.2, 0.4, 1.0], dtype=dtype)
    parameters = ordinary.view(8, 1, 1).repeat(1, 2, 1)
    parameters[PARAMETERS.index(name)] = size * signs[0]
    kernel = gabor_kernel(parameters.requires_grad_(), 5)
    (gradient,) = torch.autograd.grad(kernel.sum(), parameters)
    assert kernel.isfinite().all()
    assert gradient.isfinite().all()


def test_autograd_saves_only_the_parameters() -> None:
    saved = []
    parameters = hard_parameters(2, 3).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        gabor_kernel(parameters, 7)
    assert len(saved) == 1
    assert saved[0].data_ptr() == parameters.data_ptr()


def test_cosines_and_sines_are_counted_in_lines_not_in_cubes() -> None:
    counter = CountTranscendentals()
    parameters, side = hard_parameters(4, 5), 9
    with counter:
        gabor_kernel(parameters, side)
    angles, waves, envelope = 4, 2 * 3 * 2 * side, side
    assert 0 < counter.elements <= 4 * 5 * (angles + waves + envelope)


class CountTranscendentals(torch.overrides.TorchFunctionMode):
    """Counts the elements that pass through cos, sin and exp."""

    elements = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func.__name__ in {"cos", "sin", "exp", "polar"}:
            self.elements += args[0].numel()
        return func(*args, **(kwargs or {}))


def test_blocks_of_the_backward_pass_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = hard_parameters(4, 5).requires_grad_()
    weight = torch.randn(5, 4, 3, 3, 3, dtype=torch.float64)
    (whole,) = torch.autograd.grad(gabor_kernel(parameters, 3), parameters, weight)
    monkeypatch.setattr("gaborseg.layers.separable.PAIRS_AT_ONCE", 8)
    (blocks,) = torch.autograd.grad(gabor_kernel(parameters, 3), parameters, weight)
    torch.testing.assert_close(blocks, whole)


def test_second_derivative_is_refused() -> None:
    parameters = hard_parameters(2, 2).requires_grad_()
    (gradient,) = torch.autograd.grad(
        gabor_kernel(parameters, 3).square().sum(), parameters, create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_autocast_changes_neither_value_nor_gradient() -> None:
    parameters = hard_parameters(3, 4).float().requires_grad_()
    weight = torch.randn(4, 3, 5, 5, 5)
    want = value_and_gradient(gabor_kernel(parameters, 5), parameters, weight)
    with torch.autocast("cpu", torch.bfloat16):
        got = value_and_gradient(gabor_kernel(parameters, 5), parameters, weight)
    assert torch.equal(got[0], want[0])
    assert torch.equal(got[1], want[1])


def test_half_precision_parameters_give_a_float32_kernel() -> None:
    parameters = hard_parameters(2, 2).bfloat16().requires_grad_()
    kernel = gabor_kernel(parameters, 3)
    (gradient,) = torch.autograd.grad(kernel.sum(), parameters)
    torch.testing.assert_close(kernel, gabor_kernel(parameters.float(), 3))
    assert gradient.dtype == torch.bfloat16


@pytest.mark.parametrize("kernel_size", [0, -3, 4])
def test_even_and_empty_sizes_are_refused(kernel_size: int) -> None:
    with pytest.raises(
        ValueError, match=f"kernel_size must be odd and positive, got {kernel_size}"
    ):
        gabor_kernel(hard_parameters(1, 1), kernel_size)


def test_fractional_size_is_refused() -> None:
    with pytest.raises(TypeError, match=r"kernel_size must be an integer, got 7\.0"):
        gabor_kernel(hard_parameters(1, 1), 7.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(7, 2, 2), (8, 2), (8, 2, 2, 1)])
def test_wrongly_shaped_parameters_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="parameters must be"):
        gabor_kernel(torch.zeros(shape), 3)
