import math
from io import BytesIO

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gaborseg.layers import (
    ConventionalConv3d,
    GaborConv3d,
    GeneralGaborConv3d,
    gabor_kernel,
    initial_gabor,
)
from gaborseg.layers.gabor import PARAMETERS
from gaborseg.layers.general_gabor import GENERAL_PARAMETERS
from gaborseg.pictures import KernelLayer, gallery_charts, gallery_rows, kernel_layers
from gaborseg.pictures.kernel_charts import SHOWN, draw_kernels
from gaborseg.pictures.kernels import NARROW, GaborKernels, layer_name


def gabor_kernels(parameters: Tensor) -> GaborKernels:
    return GaborKernels(parameters, PARAMETERS, lambda part: gabor_kernel(part, 7))


def kernels(count: int = 40, **values: float) -> GaborKernels:
    parameters = initial_gabor(4, count // 4, 7, "uniform")
    for name, value in values.items():
        parameters[PARAMETERS.index(name)] = value
    return gabor_kernels(parameters)


def layer(**trained: float) -> KernelLayer:
    start = kernels()
    moved = start.parameters.clone()
    for name, value in trained.items():
        moved[PARAMETERS.index(name)] = value
    return KernelLayer("some layer", "GaborConv3d", start, gabor_kernels(moved))


def network() -> nn.Sequential:
    return nn.Sequential(
        GaborConv3d(1, 4, 5), ConventionalConv3d(4, 4), GeneralGaborConv3d(4, 4), GaborConv3d(4, 3)
    )


def all_voxels(own: GaborKernels) -> Tensor:
    """Kernels in the order of the flattened parameters, (I O, K, K, K)."""
    return own.synthesise(own.parameters).transpose(0, 1).flatten(0, 1)


def test_layers_that_compute_their_kernels_are_found_in_both_networks() -> None:
    start, trained = network(), network()
    first, general, last = kernel_layers(start, trained)
    assert [layer.name for layer in (first, general, last)] == ["0", "2", "3"]
    families = [layer.family for layer in (first, general, last)]
    assert families == ["GaborConv3d", "GeneralGaborConv3d", "GaborConv3d"]
    assert (first.start.kernel_size, last.start.kernel_size) == (5, 7)
    assert torch.equal(last.trained.parameters, trained[3].gabor)
    assert kernel_layers(nn.ReLU(), nn.ReLU()) == []


def test_any_kernel_is_told_by_its_voxels_and_named_parameters() -> None:
    start, trained = GeneralGaborConv3d(2, 3, 5), GeneralGaborConv3d(2, 3, 5)
    (layer,) = kernel_layers(start, trained)
    pair = trained.kernel()[2, 1].detach()
    np.testing.assert_allclose(layer.trained.voxels(5), pair, atol=1e-6)  # (I, O) flattened
    assert layer.trained.energy[5] == pytest.approx(pair.square().sum().item(), rel=1e-5)
    moved = (trained.kernel() - start.kernel()).detach()[2, 1].norm() / start.kernel()[2, 1].norm()
    assert layer.change[5] == pytest.approx(moved.item(), rel=1e-4)
    widths = trained.parameters_by_name()["sigma_y"].flatten().tolist()
    (_, row) = gallery_rows([layer])
    assert row["sigma_y_median"] == pytest.approx(np.median(widths))
    assert {"amplitude_q25", "phase_q75", "change_median", "faint"} < set(row)


@pytest.mark.slow
def test_pictures_of_any_kernel_show_each_parameter() -> None:
    pictures = dict(gallery_charts(kernel_layers(network()[2:3], network()[2:3])))
    assert list(pictures) == ["kernel_distributions", "kernel_layers", "kernels_2"]
    labels = [axes.get_xlabel() for axes in pictures["kernel_distributions"].axes]
    assert labels == [name.replace("_", " ") for name in GENERAL_PARAMETERS]
    for picture in pictures.values():
        picture.savefig(BytesIO(), format="png", dpi=30)


def test_kernels_energies_and_change_belong_to_their_parameters() -> None:
    own = layer(sigma=1.5)
    voxels, before = all_voxels(own.trained).double(), all_voxels(own.start).double()
    np.testing.assert_allclose(own.trained.voxels(13), voxels[13], atol=1e-6)
    np.testing.assert_allclose(own.trained.energy, voxels.square().sum((1, 2, 3)), rtol=1e-5)
    change = (voxels - before).flatten(1).norm(dim=1) / before.flatten(1).norm(dim=1)
    np.testing.assert_allclose(own.change, change, rtol=1e-4, atol=1e-6)


def test_directions_are_the_waves() -> None:
    own = kernels(theta_y=0.4, theta_z=1.1, sigma=1e6, amplitude_im=0.0)
    own.parameters[PARAMETERS.index("frequency_re")] = 0.1
    voxels = own.voxels(0)
    steps = np.array(np.gradient(voxels))[:, 3, 3, 3] / np.sin(0.2 * np.pi * own.directions[:, 0])
    np.testing.assert_allclose(steps / steps[0], [1, 1, 1], rtol=1e-4)


def test_a_wave_is_beyond_nyquist_only_along_an_axis() -> None:
    oblique = kernels(theta_y=math.asin(1 / math.sqrt(3)), theta_z=math.pi / 4, frequency_re=0.8)
    straight = kernels(theta_y=0.0, theta_z=0.0, frequency_re=-0.6)
    assert oblique.shares()["beyond_nyquist"] == 0
    assert straight.shares()["beyond_nyquist"] == 1


@pytest.mark.parametrize(("sigma", "narrow", "wide"), [(0.1, 1, 0), (-2.0, 0, 0), (-7.1, 0, 1)])
def test_collapsed_envelopes_are_counted(sigma: float, narrow: float, wide: float) -> None:
    shares = kernels(sigma=sigma).shares()
    assert (shares["narrow"], shares["wide"]) == (narrow, wide)
    assert math.exp(-1 / (2 * NARROW**2)) == pytest.approx(0.01)


def test_faint_kernels_are_counted() -> None:
    own = kernels()
    own.parameters[3:5, :, 0] *= 1e-3
    assert own.shares()["faint"] == 0.1


def test_the_table_has_two_rows_a_layer() -> None:
    start, trained = gallery_rows([layer(sigma=1.25)])
    assert (start["time"], trained["time"]) == ("start", "trained")
    assert start["kernels"] == trained["kernels"] == 40
    assert trained["sigma_q25"] == trained["sigma_median"] == 1.25
    assert start["change_median"] == 0 < trained["change_median"]
    assert 0 < start["frequency_q25"] < start["frequency_median"] < start["frequency_q75"] < 0.3


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("encoder.2.units.0.0", "down, level 2, convolution 1"),
        ("decoder.0.units.1.0", "up, level 0, convolution 2"),
        ("other.0", "other.0"),
    ],
)
def test_layers_are_named_for_the_reader(path: str, name: str) -> None:
    assert layer_name(path) == name


@pytest.mark.slow
def test_all_pictures_are_drawn_also_of_spoilt_kernels() -> None:
    layers = [layer(sigma=0.0), layer(), layer(amplitude_re=0.0, amplitude_im=0.0)]
    named = [
        KernelLayer(f"layer {i}", own.family, own.start, own.trained)
        for i, own in enumerate(layers)
    ]
    pictures = dict(gallery_charts(named))
    assert list(pictures) == [
        "kernel_distributions",
        "kernel_layers",
        "kernels_layer0",
        "kernels_layer2",
    ]
    for picture in pictures.values():
        picture.savefig(BytesIO(), format="png", dpi=30)


def test_a_picture_holds_kernels_and_spectra_of_both_times() -> None:
    panels = draw_kernels(layer()).axes
    assert [len(panel.images) for panel in panels] == 4 * [SHOWN]
    few = KernelLayer("few", "GaborConv3d", kernels(4), kernels(4))
    assert [len(panel.images) for panel in draw_kernels(few).axes] == 4 * [4]
