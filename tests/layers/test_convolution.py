from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from gaborseg.layers import ConventionalConv3d, GaborConv3d, GeneralGaborConv3d
from gaborseg.layers.convolution import conv3d_in_slabs, gains_from_slabs, same_conv3d

CUT = torch.randn(1, 3, 9, 8, 8)
"""A volume that is cut in slabs."""


class Calls(TorchDispatchMode):
    """Records the arguments of an operator."""

    def __init__(self, operator: object) -> None:
        super().__init__()
        self.operator = operator
        self.arguments: list[tuple] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is self.operator:
            self.arguments.append(args)
        return function(*args, **(kwargs or {}))


def output_and_gradients(convolve, *inputs: Tensor) -> tuple[Tensor, ...]:
    leaves = [x.detach().requires_grad_() for x in inputs]
    y = convolve(*leaves)
    return y, *torch.autograd.grad(y, leaves, torch.linspace(-1, 1, y.numel()).to(y).view_as(y))


def plainly(x: Tensor, kernel: Tensor, *bias: Tensor) -> Tensor:
    return F.conv3d(x, kernel, *bias, padding="same")


@pytest.mark.parametrize("sides", [(3, 3, 3), (7, 7, 7), (1, 3, 5), (5, 1, 1)])
@pytest.mark.parametrize("size", [(2, 3, 4), (5, 4, 2), (8, 7, 9), (3, 1, 1)])
def test_slabs_give_the_sums_of_the_whole(size: Sequence[int], sides: Sequence[int]) -> None:
    double = {"dtype": torch.float64}
    inputs = torch.randn(1, 3, *size, **double), torch.randn(2, 3, *sides, **double)
    bias = torch.randn(2, **double)
    found = output_and_gradients(conv3d_in_slabs, *inputs, bias)
    wanted = output_and_gradients(plainly, *inputs, bias)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)


def test_slabs_round_as_the_whole_does() -> None:
    inputs = torch.randn(1, 24, 12, 13, 14), torch.randn(16, 24, 3, 3, 3)
    exact = output_and_gradients(plainly, *(x.double() for x in inputs))
    found = output_and_gradients(conv3d_in_slabs, *inputs)
    for a, b in zip(found, exact, strict=True):
        assert (a - b).abs().max() < 5e-6 * b.abs().max()


def test_gradients_of_slabs_have_gradients() -> None:
    double = {"dtype": torch.float64, "requires_grad": True}
    inputs = torch.randn(1, 1, 3, 2, 2, **double), torch.randn(1, 1, 3, 3, 3, **double)
    assert torch.autograd.gradgradcheck(conv3d_in_slabs, inputs)


def test_the_same_call_gives_the_same_bits() -> None:
    inputs = CUT, torch.randn(4, 3, 3, 3, 3)
    once, again = (output_and_gradients(same_conv3d, *inputs) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))


@pytest.mark.parametrize(
    ("shape", "kernel_size", "cut"),
    [
        ((1, 2, 8, 8, 8), 3, True),
        ((1, 2, 2, 16, 16), 3, True),
        ((2, 2, 8, 8, 8), 3, False),  # torch runs a batch well
        ((1, 1, 8, 8, 8), 3, False),  # and one channel best in its own loop
        ((1, 2, 8, 8, 7), 3, False),  # too small to gain
        ((1, 2, 1, 32, 32), 3, False),  # nothing to cut
        ((1, 2, 8, 8, 8), 1, False),  # a matrix product
    ],
)
def test_only_one_large_sample_is_cut(shape: Sequence[int], kernel_size: int, cut: bool) -> None:
    kernel = torch.randn(2, shape[1], *(kernel_size,) * 3)
    assert gains_from_slabs(torch.randn(shape), kernel) is cut
    assert not gains_from_slabs(torch.randn(shape, device="meta"), kernel)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")
def test_slabs_run_in_onednn() -> None:
    def backend(batch: int) -> object:
        x, kernel = torch.empty(batch, 24, 16, 16, 16), torch.empty(24, 24, 3, 3, 3)
        ones = [1] * 3
        return torch._C._select_conv_backend(
            x, kernel, None, ones, ones, ones, False, [0] * 3, 1, None
        )

    assert backend(1) == torch._C._ConvBackend.Slow3d, "one sample is no longer slow: cut no more?"
    assert backend(2) == torch._C._ConvBackend.Mkldnn


def test_taps_that_meet_only_padding_are_cut_off() -> None:
    with Calls(torch.ops.aten.convolution.default) as calls:
        same_conv3d(torch.randn(1, 2, 3, 1, 4), torch.randn(5, 2, 7, 7, 7))
    assert [kernel.shape for _, kernel, *_ in calls.arguments] == [(5, 2, 5, 1, 7)]


@pytest.mark.parametrize("volume", [CUT, CUT[..., :4]], ids=["cut", "whole"])
def test_no_gradient_of_an_image_is_computed(volume: Tensor) -> None:
    layer = ConventionalConv3d(3, 4)
    with Calls(torch.ops.aten.convolution_backward.default) as calls:
        layer(volume).sum().backward()
    assert [arguments[-1] for arguments in calls.arguments] == [[False, True, False]]


def test_a_volume_without_batch_is_convolved() -> None:
    layer = ConventionalConv3d(3, 4)
    torch.testing.assert_close(layer(CUT[0]), layer(CUT)[0])


def test_autocast_lowers_the_precision_of_slabs() -> None:
    layer = ConventionalConv3d(3, 4, bias=True)
    with torch.autocast("cpu", torch.bfloat16):
        found, wanted = layer(CUT), plainly(CUT, layer.weight, layer.bias)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, wanted)


@pytest.mark.slow
def test_a_compiled_layer_gives_the_same() -> None:
    compiled = torch.compile(same_conv3d, backend="aot_eager", fullgraph=True)
    inputs = CUT, torch.randn(4, 3, 3, 3, 3)
    found, wanted = (output_and_gradients(f, *inputs) for f in (compiled, same_conv3d))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)


def test_an_exported_layer_is_one_convolution() -> None:
    layer = ConventionalConv3d(3, 4)
    program = torch.export.export(layer, (CUT,))
    calls = [node.target for node in program.graph.nodes if node.op == "call_function"]
    assert calls == [torch.ops.aten.conv3d.padding]
    torch.testing.assert_close(program.module()(CUT), layer(CUT))


LAYERS = [GaborConv3d, GeneralGaborConv3d, ConventionalConv3d]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.__name__)
def test_volumes_that_are_not_floating_are_refused(layer: type[nn.Module]) -> None:
    with pytest.raises(TypeError, match=r"x must be floating, got torch.int16: use x.float\(\)"):
        layer(1, 1, 3)(torch.ones(1, 1, 4, 4, 4, dtype=torch.int16))


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.__name__)
@pytest.mark.parametrize("shape", [(0, 5, 5), (5, 5, 0)], ids=str)
def test_volumes_without_a_voxel_are_refused(
    layer: type[nn.Module], shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="x must have at least one voxel along each axis"):
        layer(1, 1, 3)(torch.ones(1, 1, *shape))


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.__name__)
@pytest.mark.parametrize("arguments", [(1.5, 1, 3), (1, 1, True)], ids=str)
def test_sizes_that_are_no_integers_are_refused(
    layer: type[nn.Module], arguments: tuple[object, ...]
) -> None:
    with pytest.raises(TypeError, match="must be an integer"):
        layer(*arguments)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.__name__)
def test_integers_of_numpy_are_integers(layer: type[nn.Module]) -> None:
    assert layer(np.int64(1), np.int64(2), np.int64(3))(torch.ones(1, 1, 4, 4, 4)).shape[1] == 2


@pytest.mark.parametrize("layer", [GaborConv3d, GeneralGaborConv3d])
def test_a_bias_does_not_mind_reduced_precision(layer: type[nn.Module]) -> None:
    assert layer(1, 1, 3, bias=True)(torch.ones(1, 1, 4, 4, 4).bfloat16()).dtype == torch.bfloat16


def test_a_stride_that_is_no_integer_is_refused() -> None:
    with pytest.raises(ValueError, match="stride must be a positive integer"):
        GaborConv3d(1, 1, 3, stride=1.5)


def test_a_part_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="part must be one of real, imaginary, both, got 'x'"):
        GeneralGaborConv3d(1, 1, 3, part="x")
