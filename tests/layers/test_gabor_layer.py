import copy
import io
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gabor_reference import naive_gabor_kernel
from gaborseg.layers import GaborConv3d, GeneralGaborConv3d, spectral
from gaborseg.layers.gabor import PARAMETERS
from gaborseg.layers.general_gabor import GENERAL_PARAMETERS

Layer = GaborConv3d | GeneralGaborConv3d
FAMILY = pytest.mark.parametrize("kind", [GaborConv3d, GeneralGaborConv3d])


def plain(layer: Layer, volume: Tensor) -> Tensor:
    return F.conv3d(volume, layer.kernel(), layer.bias, padding="same")


def test_output_is_the_convolution_with_equation_two() -> None:
    layer, volume = GaborConv3d(2, 3).double(), torch.randn(2, 2, 8, 9, 10, dtype=torch.float64)
    want = F.conv3d(volume, naive_gabor_kernel(layer.gabor, 7), padding=3)
    torch.testing.assert_close(layer(volume), want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("native", [True, False])
def test_float32_is_exact_with_and_without_native_code(
    native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not native:
        monkeypatch.setattr(spectral, "native", lambda: None)
    layer, volume = GaborConv3d(96, 2), torch.randn(1, 96, 5, 6, 4)
    reference = naive_gabor_kernel(layer.gabor.double(), 7)
    want = F.conv3d(volume.double(), reference, padding=3)
    assert (layer(volume) - want).abs().max() < 1e-6 * want.abs().max()


def test_gradients_are_those_of_the_naive_layer() -> None:
    layer = GaborConv3d(2, 3, 5).double()
    volume = torch.randn(1, 2, 5, 6, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(1, 3, 5, 6, 4, dtype=torch.float64)
    naive = F.conv3d(volume, naive_gabor_kernel(layer.gabor, 5), padding=2)
    want = torch.autograd.grad(naive, (volume, layer.gabor), weight)
    got = torch.autograd.grad(layer(volume), (volume, layer.gabor), weight)
    torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-12)


@FAMILY
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("size", [(7, 7, 7), (8, 8, 8), (3, 9, 5), (1, 2, 12), (1, 1, 1)])
def test_forward_equals_plain_convolution(
    kind: type[Layer], size: tuple[int, ...], bias: bool
) -> None:
    layer, volume = kind(2, 3, 7, bias=bias), torch.randn(2, 2, *size)
    if bias:
        nn.init.normal_(layer.bias)
    torch.testing.assert_close(layer(volume), plain(layer, volume), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kernel_size", [1, 3, 5, 9])
def test_any_odd_kernel_keeps_the_size(kernel_size: int) -> None:
    volume = torch.randn(1, 2, 6, 5, 4)
    assert GaborConv3d(2, 3, kernel_size)(volume).shape == (1, 3, 6, 5, 4)


def test_strided_volume_gives_the_same_output() -> None:
    layer, volume = GaborConv3d(2, 3), torch.randn(10, 9, 8, 2, 1).permute(4, 3, 2, 1, 0)
    torch.testing.assert_close(layer(volume), layer(volume.contiguous()))


@FAMILY
def test_ordinary_convolution_has_the_same_output(kind: type[Layer]) -> None:
    layer, volume = kind(2, 3, 5, bias=True), torch.randn(1, 2, 6, 4, 5)
    nn.init.normal_(layer.bias)
    conv = layer.to_conv3d()
    assert type(conv) is nn.Conv3d
    torch.testing.assert_close(conv(volume), layer(volume))


def test_ordinary_convolution_has_a_weight_of_its_own() -> None:
    layer = GaborConv3d(2, 3)
    conv = layer.to_conv3d()
    with torch.no_grad():
        layer.gabor.zero_()
    assert conv.weight.is_leaf
    assert conv.weight.abs().sum() > 0


def test_parameters_are_one_tensor_with_eight_names() -> None:
    layer = GaborConv3d(4, 3)
    assert [(name, *p.shape) for name, p in layer.named_parameters()] == [("gabor", 8, 4, 3)]
    parameters = layer.parameters_by_name()
    assert tuple(parameters) == PARAMETERS
    assert all(value.shape == (4, 3) for value in parameters.values())


def test_general_layer_has_nine_names() -> None:
    layer = GeneralGaborConv3d(4, 3, part="imaginary")
    assert tuple(layer.parameters_by_name()) == GENERAL_PARAMETERS


def test_named_parameters_are_in_the_units_of_the_equation() -> None:
    layer = GaborConv3d(2, 3)
    values = layer.parameters_by_name()
    real, imaginary, phase = (values[n] for n in ("amplitude_re", "amplitude_im", "phase"))
    want = (real * phase.cos() + imaginary * phase.sin()).T
    torch.testing.assert_close(layer.kernel()[..., 3, 3, 3], want)
    assert values["phase"].max() > math.pi  # radians, not turns


def test_autocast_synthesises_in_float32_all_the_same() -> None:
    layer, volume = GaborConv3d(2, 3), torch.randn(1, 2, 6, 6, 6)
    want = layer.kernel()
    with torch.autocast("cpu", torch.bfloat16):
        kernel, output = layer.kernel(), layer(volume)
    assert kernel.dtype == torch.float32
    assert torch.equal(kernel, want)
    torch.testing.assert_close(output.float(), layer(volume), rtol=0.05, atol=0.05)


@FAMILY
def test_bfloat16_layer_still_synthesises_in_float32(kind: type[Layer]) -> None:
    layer = kind(2, 3).bfloat16()
    output = layer(torch.randn(1, 2, 6, 6, 6).bfloat16())
    assert layer.kernel().dtype == torch.float32
    assert output.dtype == torch.bfloat16


@FAMILY
def test_fixed_kernels_are_a_buffer_under_the_same_key(kind: type[Layer]) -> None:
    fixed, trained = kind(2, 3, trainable=False), kind(2, 3)
    assert not list(fixed.parameters())
    assert list(fixed.state_dict()) == list(trained.state_dict()) == ["gabor"]
    fixed.load_state_dict(trained.state_dict())
    assert torch.equal(fixed.kernel(), trained.kernel())


@FAMILY
def test_copy_and_file_give_the_same_layer(kind: type[Layer]) -> None:
    layer, file = kind(2, 3, 5, bias=True), io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    for twin in (copy.deepcopy(layer), torch.load(file, weights_only=False)):
        assert torch.equal(twin.kernel(), layer.kernel())
        assert twin.gabor is not layer.gabor


def test_learning_recovers_a_kernel() -> None:
    torch.manual_seed(0)
    target, layer = GaborConv3d(1, 1, 5), GaborConv3d(1, 1, 5)
    with torch.no_grad():
        layer.gabor.copy_(target.gabor + 0.1)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.03)
    first = (layer.kernel() - target.kernel()).square().sum().item()
    for _ in range(30):
        optimizer.zero_grad()
        loss = (layer.kernel() - target.kernel().detach()).square().sum()
        loss.backward()
        optimizer.step()
    assert loss.item() < first / 10


def test_description_names_the_choices() -> None:
    assert GaborConv3d(2, 3, trainable=False).extra_repr() == (
        "2, 3, kernel_size=7, bias=False, trainable=False"
    )
    assert "sigma_scale='log'" in repr(GaborConv3d(2, 3, sigma_scale="log"))
    assert "part='real'" in repr(GeneralGaborConv3d(2, 3, part="real"))


@FAMILY
@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((0, 2, 3), "in_channels must be at least 1, got 0"),
        ((2, 0, 3), "out_channels must be at least 1, got 0"),
        ((2, 2, 4), "kernel_size must be odd and positive, got 4"),
    ],
)
def test_impossible_sizes_are_refused(
    kind: type[Layer], sizes: tuple[int, int, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kind(*sizes)
