import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from gabor_reference import hard_parameters, naive_gabor_kernel
from gaborseg.layers import native_available, spectral, spectral_conv3d, synthesise
from gaborseg.layers.portable import factor_tables, multiply_spectra_op

PARAMETERS = ("sigma", "theta_y", "theta_z", "A_re", "A_im", "f_re", "f_im", "phase")

needs_native = pytest.mark.skipif(not native_available(), reason="no compiler")


def volumes(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def error(value: Tensor, reference: Tensor) -> float:
    """Largest difference relative to the largest reference value (absolute where that is 0)."""
    scale = reference.abs().max()
    return float((value.double() - reference).abs().max() / torch.where(scale > 0, scale, 1))


def gradients(convolve, x: Tensor, parameters: Tensor, kernel_size: int) -> list[Tensor]:
    """Result, gradient of x and gradient of each of the eight parameters."""
    leaves = [leaf.detach().clone().requires_grad_() for leaf in (x, parameters)]
    y = convolve(*leaves, kernel_size)
    cotangent = volumes(*y.shape, seed=2).to(y.dtype)
    dx, dparameters = torch.autograd.grad(y, leaves, cotangent)
    return [y.detach(), dx, *dparameters]


def naive_conv3d(x: Tensor, parameters: Tensor, kernel_size: int) -> Tensor:
    return F.conv3d(x, naive_gabor_kernel(parameters, kernel_size), padding=kernel_size // 2)


# Layers of fewer than 128 pairs of channels are computed in float64: both sides are tried.
SHAPES = {  # (B, I, O, D, H, W), K
    "one voxel": ((1, 2, 2, 1, 1, 1), 7),
    "smaller than the kernel": ((2, 5, 9, 3, 3, 3), 7),
    "few pairs on a large volume": ((1, 2, 9, 20, 18, 17), 7),
    "levels of 64^3": ((1, 16, 24, 4, 4, 4), 7),
    "odd channels, batch of 3": ((3, 11, 13, 6, 7, 5), 5),
    "non-cubic": ((1, 9, 15, 2, 9, 13), 7),
    "kernel of 3": ((1, 8, 17, 7, 6, 8), 3),
    "kernel of 9": ((1, 9, 15, 8, 9, 4), 9),
    "kernel of 11": ((2, 8, 16, 3, 7, 5), 11),
    "rows in chunks": ((1, 8, 16, 18, 19, 9), 7),
    "96 channels": ((1, 96, 4, 4, 5, 4), 7),
}
WORST = (  # (B, I, O, D, H, W), K, seed: where plain float32 was worst, of thousands of draws
    ((2, 2, 1, 2, 9, 9), 7, 791335),  # 1e-2, the gradient of f_re
    ((2, 2, 1, 5, 8, 9), 3, 696587),  # 3e-3, theta_z
    ((2, 1, 1, 9, 8, 3), 11, 810111),  # 5e-4, sigma
    ((2, 1, 1, 4, 9, 9), 7, 373547),  # 5e-4, the amplitudes and the phase
    ((1, 1, 4, 6, 1, 1), 3, 692244),  # 4e-4, theta_z
    ((3, 1, 1, 2, 8, 7), 3, 608399),  # 7e-6, output and input gradient
    ((2, 11, 2, 8, 9, 6), 11, 577265),  # 6e-6, f_re
    ((1, 12, 11, 6, 8, 5), 7, 100639),  # 1e-6, among the worst of many pairs as it is now
)
PATHS = pytest.mark.parametrize("path", ["native", "torch"])


def take(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the operators take a path, as far as this machine has it."""
    if path == "torch":
        monkeypatch.setattr(spectral, "native", lambda: None)
        assert not native_available()


def assert_exact_in_float32(
    x: Tensor, parameters: Tensor, kernel_size: int, want: list[Tensor]
) -> None:
    """Compare with what is wanted: output, gradient of x and each parameter's."""
    got = gradients(spectral_conv3d, x, parameters.float(), kernel_size)
    assert max(map(error, got[:2], want[:2])) < 1e-6
    assert max(map(error, got[2:], want[2:])) < 3e-6


@PATHS
@pytest.mark.parametrize(("shape", "kernel_size"), SHAPES.values(), ids=SHAPES.keys())
def test_convolution_and_gradients_are_exact(
    shape: tuple[int, ...], kernel_size: int, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(path, monkeypatch)
    batch, inputs, outputs, *space = shape
    x, parameters = volumes(batch, inputs, *space), hard_parameters(inputs, outputs)
    want = gradients(naive_conv3d, x.double(), parameters, kernel_size)
    assert_exact_in_float32(x, parameters, kernel_size, want)
    got = gradients(spectral_conv3d, x.double(), parameters, kernel_size)
    assert max(map(error, got, want)) < 1e-12


@PATHS
@pytest.mark.parametrize(("shape", "kernel_size", "seed"), WORST)
def test_the_worst_draws_are_exact(
    shape: tuple[int, ...], kernel_size: int, seed: int, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(path, monkeypatch)
    batch, inputs, outputs, *space = shape
    x = volumes(batch, inputs, *space, seed=seed)
    parameters = hard_parameters(inputs, outputs, seed)
    want = gradients(naive_conv3d, x.double(), parameters, kernel_size)
    assert_exact_in_float32(x, parameters, kernel_size, want)


@PATHS
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    shape=st.tuples(*[st.integers(1, 6)] * 3),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 18)),
    kernel_size=st.sampled_from([1, 3, 5, 7, 9]),
    seed=st.integers(0, 1000),
)
def test_any_shape_and_parameters_are_exact(
    shape: tuple[int, ...], channels: tuple[int, ...], kernel_size: int, seed: int, path: str
) -> None:
    batch, inputs, outputs = channels
    x = volumes(batch, inputs, *shape, seed=seed)
    parameters = hard_parameters(inputs, outputs, seed)
    want = gradients(naive_conv3d, x.double(), parameters, kernel_size)
    with pytest.MonkeyPatch.context() as monkeypatch:
        take(path, monkeypatch)
        assert_exact_in_float32(x, parameters, kernel_size, want)
        got = gradients(spectral_conv3d, x.double(), parameters, kernel_size)
    assert max(map(error, got, want)) < 1e-12


@PATHS
@pytest.mark.parametrize("channels", [(5, 9), (12, 17)], ids=["few pairs", "many pairs"])
@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7, 9, 11])
def test_synthesis_and_gradients_are_exact(
    kernel_size: int, channels: tuple[int, int], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(path, monkeypatch)
    parameters = hard_parameters(*channels)
    cotangent = volumes(*reversed(channels), *[kernel_size] * 3)

    def run(function, values: Tensor) -> list[Tensor]:
        values = values.clone().requires_grad_()
        kernel = function(values, kernel_size)
        (grad,) = torch.autograd.grad(kernel, values, cotangent.to(kernel.dtype))
        return [kernel.detach(), *grad]

    want = run(naive_gabor_kernel, parameters)
    double, single = run(synthesise, parameters), run(synthesise, parameters.float())
    assert max(map(error, double, want)) < 1e-12
    assert error(single[0], want[0]) < 1e-6
    assert max(map(error, single[1:], want[1:])) < 3e-6


class Requests(TorchDispatchMode):
    """Notes which gradients the operators' backward passes are asked for: x, parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[bool, bool]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "gaborseg" and "backward" in func.name():
            self.seen.append(args[-2:])
        return func(*args, **(kwargs or {}))


@PATHS
@pytest.mark.parametrize("channels", [(2, 3), (12, 12)], ids=["few pairs", "many pairs"])
def test_a_gradient_that_nobody_needs_is_not_computed(
    channels: tuple[int, int], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(path, monkeypatch)
    x, parameters = volumes(2, channels[0], 4, 5, 3), hard_parameters(*channels).float()
    both = gradients(spectral_conv3d, x, parameters, 5)[1:]
    with Requests() as requests:
        leaf = x.clone().requires_grad_()
        y = spectral_conv3d(leaf, parameters, 5)
        x_grad = torch.autograd.grad(y, leaf, volumes(*y.shape, seed=2))[0]
        leaf = parameters.clone().requires_grad_()
        y = spectral_conv3d(x, leaf, 5)
        parameters_grad = torch.autograd.grad(y, leaf, volumes(*y.shape, seed=2))[0]
    assert requests.seen == [(True, False), (False, True)]
    assert all(map(torch.equal, [x_grad, *parameters_grad], both))


@needs_native
def test_gradcheck() -> None:
    x = volumes(1, 2, 3, 2, 4).double().requires_grad_()
    parameters = hard_parameters(2, 3)
    parameters[0] = parameters[0].abs().clamp_min(0.4)  # finite differences need a smooth envelope
    parameters.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, p: spectral_conv3d(x, p, 5), (x, parameters))
    assert torch.autograd.gradcheck(lambda p: synthesise(p, 3), (parameters,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sigma_of_zero_is_a_delta_with_no_gradient_of_sigma(dtype: torch.dtype) -> None:
    parameters = hard_parameters(1, 1).to(dtype)
    parameters[0], parameters[3], parameters[4], parameters[7] = 0, 2, 3, 0
    x = volumes(1, 1, 4, 5, 3).to(dtype)
    y, _, sigma_grad, *_ = gradients(spectral_conv3d, x, parameters, 7)
    torch.testing.assert_close(y, 2 * x)
    assert sigma_grad.item() == 0


@pytest.mark.parametrize("extreme", [0.0, 1e-30, 1e-6, 1e6, 1e30, -1e30])
@pytest.mark.parametrize("index", [0, 1, 2, 5, 6, 7], ids=lambda index: PARAMETERS[index])
def test_extreme_parameters_stay_finite(index: int, extreme: float) -> None:
    parameters = hard_parameters(2, 3).float()
    parameters[index] = extreme
    for value in gradients(spectral_conv3d, volumes(1, 2, 3, 4, 2), parameters, 7):
        assert value.isfinite().all()


@pytest.mark.parametrize(
    "layout",
    [
        lambda x: x.contiguous(memory_format=torch.channels_last_3d),
        lambda x: x.transpose(2, 4).contiguous().transpose(2, 4),
        lambda x: x.repeat_interleave(2, dim=4)[..., ::2],
    ],
    ids=["channels_last", "transposed", "every other voxel"],
)
def test_layout_of_the_input_does_not_matter(layout) -> None:
    x, parameters = volumes(2, 9, 4, 8, 9), hard_parameters(9, 8).float()
    rearranged = layout(x)
    assert not rearranged.is_contiguous()
    for got, want in zip(
        gradients(spectral_conv3d, rearranged, parameters, 7),
        gradients(spectral_conv3d, x, parameters, 7),
        strict=True,
    ):
        assert torch.equal(got, want)


def test_expanded_gradients_are_read_through_their_strides() -> None:
    x, parameters = volumes(1, 2, 4, 3, 5).requires_grad_(), hard_parameters(2, 3).float()
    (dx,) = torch.autograd.grad(spectral_conv3d(x, parameters, 5).sum(), x)
    y = spectral_conv3d(x, parameters, 5)
    (want,) = torch.autograd.grad(y, x, torch.ones_like(y))
    torch.testing.assert_close(dx, want)


@needs_native
@pytest.mark.parametrize("channels", [(2, 9), (11, 40)], ids=["few pairs", "many pairs"])
def test_result_does_not_depend_on_the_number_of_threads(channels: tuple[int, int]) -> None:
    x, parameters = volumes(1, channels[0], 9, 9, 9), hard_parameters(*channels).float()
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3, 7):
            torch.set_num_threads(count)
            results.append(gradients(spectral_conv3d, x, parameters, 7))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


def test_bfloat16_is_computed_in_float32() -> None:
    x, parameters = volumes(1, 3, 4, 4, 4).bfloat16(), hard_parameters(3, 5).float()
    y = spectral_conv3d(x, parameters, 7)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, spectral_conv3d(x.float(), parameters, 7).bfloat16())


def test_autocast_changes_nothing() -> None:
    x, parameters = volumes(1, 3, 4, 4, 4), hard_parameters(3, 5).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = gradients(spectral_conv3d, x, parameters, 7)
    assert all(map(torch.equal, inside, gradients(spectral_conv3d, x, parameters, 7)))


@pytest.mark.slow
@needs_native
def test_opcheck_of_convolution() -> None:
    x = volumes(2, 3, 3, 4, 2).requires_grad_()
    parameters = hard_parameters(3, 5).float().requires_grad_()
    torch.library.opcheck(spectral.spectral_conv3d_op, (x, parameters, 5))


def test_opcheck_of_convolution_without_native_code() -> None:
    x, parameters = volumes(2, 3, 3, 4, 2).requires_grad_(), hard_parameters(3, 5)
    tables = [table.requires_grad_() for table in factor_tables(parameters, x.shape[2:], 5)]
    torch.library.opcheck(multiply_spectra_op, (x, *tables))


@needs_native
def test_opcheck_of_synthesis() -> None:
    parameters = hard_parameters(3, 5).float().requires_grad_()
    torch.library.opcheck(spectral.synthesise_op, (parameters, 3))


@needs_native
def test_operators_save_their_inputs_only() -> None:
    x = volumes(1, 2, 3, 3, 3).requires_grad_()
    parameters = hard_parameters(2, 3).float().requires_grad_()
    saved: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: saved.append(t.data_ptr()) or t, lambda t: t
    ):
        spectral_conv3d(x, parameters, 7)
    assert sorted(saved) == sorted([x.data_ptr(), parameters.data_ptr()])


@needs_native
@pytest.mark.slow
def test_compiled_models_call_the_operator() -> None:
    x, parameters = volumes(1, 3, 4, 4, 4), hard_parameters(3, 5).float()

    def model(x: Tensor, parameters: Tensor, kernel_size: int) -> Tensor:
        return spectral_conv3d(x.relu(), parameters, kernel_size).tanh()

    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for got, want in zip(
        gradients(compiled, x, parameters, 7), gradients(model, x, parameters, 7), strict=True
    ):
        torch.testing.assert_close(got, want)


def test_without_native_code_the_numbers_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x, parameters = volumes(1, 3, 4, 5, 3).double(), hard_parameters(3, 5)
    native_results = gradients(spectral_conv3d, x, parameters, 7)
    native_kernel = synthesise(parameters, 5)
    monkeypatch.setattr(spectral, "native", lambda: None)
    assert not native_available()
    for got, want in zip(gradients(spectral_conv3d, x, parameters, 7), native_results, strict=True):
        torch.testing.assert_close(got, want)
    torch.testing.assert_close(synthesise(parameters, 5), native_kernel)


def test_kernels_larger_than_11_take_the_torch_path() -> None:
    x, parameters = volumes(1, 2, 3, 3, 3).double(), hard_parameters(2, 2)
    y = spectral_conv3d(x, parameters, 13)
    torch.testing.assert_close(y, naive_conv3d(x, parameters, 13))


@pytest.mark.parametrize("kernel_size", [0, 4, -3])
def test_kernel_size_must_be_odd_and_positive(kernel_size: int) -> None:
    with pytest.raises(ValueError, match=f"odd and positive, got {kernel_size}"):
        spectral_conv3d(torch.zeros(1, 1, 2, 2, 2), torch.zeros(8, 1, 1), kernel_size)


def test_shapes_are_checked_at_the_door() -> None:
    with pytest.raises(ValueError, match=r"parameters must be \(8, I, O\)"):
        synthesise(torch.zeros(7, 1, 1), 3)
    with pytest.raises(ValueError, match=r"x must be \(B, 2, D, H, W\)"):
        spectral_conv3d(torch.zeros(1, 3, 2, 2, 2), torch.zeros(8, 2, 1), 3)


@needs_native
@pytest.mark.parametrize("row", [0, 1, 2, 5, 6, 7], ids=lambda row: PARAMETERS[row])
def test_a_parameter_that_is_no_number_makes_no_kernel(row: int) -> None:
    parameters = hard_parameters(2, 2)[:, :1, :1].float()
    parameters[row] = float("nan")
    assert synthesise(parameters, 5).isnan().any()
    assert spectral_conv3d(volumes(1, 1, 6, 6, 6), parameters, 5).isnan().any()


@needs_native
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_infinite_sigma_has_a_flat_envelope(dtype: torch.dtype) -> None:
    parameters = torch.zeros(8, 1, 1, dtype=dtype)
    parameters[0], parameters[3] = float("inf"), 1
    torch.testing.assert_close(synthesise(parameters, 5), torch.ones(1, 1, 5, 5, 5, dtype=dtype))


def test_forward_mode_derivatives_are_refused_instead_of_being_zero() -> None:
    x, parameters = volumes(1, 2, 4, 4, 4), volumes(8, 2, 3)
    with pytest.raises(NotImplementedError, match="use reverse mode"):
        torch.func.jvp(lambda v: spectral_conv3d(v, parameters, 3), (x,), (x,))
