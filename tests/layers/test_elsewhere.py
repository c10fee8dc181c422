"""The layer in other code: without memory, as a function, exported, with torch's arguments."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gaborseg.layers import GaborConv3d, GeneralGaborConv3d, gabor_kernel
from gaborseg.layers.written_out import written_out_kernel


@pytest.fixture
def layer() -> GaborConv3d:
    return GaborConv3d(2, 3, kernel_size=5, bias=True)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(1, 2, 6, 7, 8)


@pytest.mark.parametrize("kind", [GaborConv3d, GeneralGaborConv3d])
def test_a_layer_on_the_meta_device_has_shapes_and_no_memory(kind: type[nn.Module]) -> None:
    with torch.device("meta"):
        layer = kind(2, 3)
        y = layer(torch.empty(1, 2, 6, 7, 8))
    assert (y.is_meta, y.shape) == (True, (1, 3, 6, 7, 8))
    real = kind(2, 3)
    layer.to_empty(device="cpu").load_state_dict(real.state_dict())
    x = torch.randn(1, 2, 6, 7, 8)
    assert torch.equal(layer(x), real(x))


def test_a_layer_is_a_function_of_its_parameters(layer: GaborConv3d, x: Tensor) -> None:
    values = {name: torch.randn_like(value) for name, value in layer.state_dict().items()}
    y = torch.func.functional_call(layer, values, (x,))
    layer.load_state_dict(values)
    assert torch.equal(y, layer(x))


def test_gradients_of_a_functional_call_are_those_of_the_layer(
    layer: GaborConv3d, x: Tensor
) -> None:
    values = {k: v.detach().clone().requires_grad_() for k, v in layer.named_parameters()}
    torch.func.functional_call(layer, values, (x,)).square().sum().backward()
    layer(x).square().sum().backward()
    for name, parameter in layer.named_parameters():
        torch.testing.assert_close(values[name].grad, parameter.grad, rtol=0, atol=0)


def test_the_kernel_of_an_exported_graph_is_the_kernel() -> None:
    parameters = torch.randn(8, 4, 5, dtype=torch.float64) * 3
    parameters[0, 0] = 0  # sigma = 0 is a delta
    wanted = gabor_kernel(parameters, 7)
    torch.testing.assert_close(written_out_kernel(parameters, 7), wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("stride", [1, 2])
def test_an_exported_layer_is_a_convolution_that_needs_no_package_of_ours(
    stride: int, x: Tensor
) -> None:
    layer = GaborConv3d(2, 3, kernel_size=5, bias=True, stride=stride)
    program = torch.export.export(layer, (x,))
    names = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert any(name.startswith("aten.conv3d") for name in names)
    assert not any("gaborseg" in name for name in names)
    torch.testing.assert_close(program.module()(x), layer(x), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_onnx_runs_the_layer(layer: GaborConv3d, x: Tensor, tmp_path: Path) -> None:
    path = str(tmp_path / "layer.onnx")
    torch.onnx.export(layer.eval(), (x,), path, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(path)
    (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    np.testing.assert_allclose(y, layer(x).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_a_kernel_size_may_be_three_equal_numbers() -> None:
    assert GaborConv3d(1, 1, (5, 5, 5)).kernel_size == 5


@pytest.mark.parametrize("stride", [2, (1, 2, 3)])
def test_a_stride_is_that_of_a_convolution(stride: int | tuple[int, ...], x: Tensor) -> None:
    layer = GaborConv3d(2, 3, kernel_size=5, bias=True, stride=stride)
    wanted = F.conv3d(x, layer.kernel(), layer.bias, stride=stride, padding=2)
    torch.testing.assert_close(layer(x), wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer.to_conv3d()(x), wanted)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": (3, 5, 5)}, r"one number, or three equal ones, got \(3, 5, 5\)"),
        ({"dilation": 2}, "dilation must be 1 for Gabor kernels, got 2"),
        ({"groups": 2}, "groups must be 1 for Gabor kernels, got 2"),
        ({"stride": 0}, "stride must be a positive integer, or three, got 0"),
        ({"stride": (1, 2)}, "stride must be a positive integer, or three"),
    ],
)
def test_what_a_gabor_layer_has_not_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GaborConv3d(2, 2, **options)
