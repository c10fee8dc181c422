import json
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from torch import nn

from config import CONF
from src import algorithms
from src.algorithms import (
    Layer,
    dtype_of,
    keep,
    measure,
    named_layers,
    planes_to_time,
    tap_planes,
)
from src.benchmarks.layer import network_shapes
from src.command import register_resolvers
from src.layers import GaborConv3d, algorithm
from src.layers.algorithm import Measurement, layer_name, read_table, table_file
from src.networks import VNetDS

SMALL_CHANNELS = "network.channels=[4,4,4,4,4]"
SMALL = Layer(out_channels=3, kernel_size=3, shape=(1, 2, 4, 4, 4), differentiable=True)


def configuration(*overrides: str) -> DictConfig:
    register_resolvers()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("algorithms", list(overrides))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(algorithm, "cache_folder", lambda: tmp_path / "native")
    return tmp_path


def test_the_layers_are_those_of_the_network() -> None:
    found = {
        (layer.shape[1], layer.out_channels, layer.shape[2])
        for layer in named_layers(configuration("kernel=gabor", "size=64")).values()
    }
    assert found == {(s.in_channels, s.out_channels, s.size) for s in network_shapes(64)}


def test_conventional_levels_have_no_choice() -> None:
    assert {layer.shape[2] for layer in named_layers(configuration()).values()} == {12, 6, 3}


def test_a_network_with_kernels_of_its_own_has_none() -> None:
    with pytest.raises(ValueError, match=r"network must take kernels, got src\.networks\.VNet"):
        named_layers(configuration("network=vnet"))


def test_only_the_image_needs_no_gradient() -> None:
    first, *others = named_layers(configuration("kernel=gabor", "size=32", SMALL_CHANNELS)).values()
    assert not first.differentiable
    assert all(layer.differentiable for layer in others)


@pytest.mark.parametrize("precision", algorithms.PRECISIONS)
def test_a_layer_finds_its_line_in_training(precision: str) -> None:
    config = configuration(f"precision={precision}", "size=16", "batch_size=2", SMALL_CHANNELS)
    network = VNetDS(1, 20, [GaborConv3d] * 5, channels=[4] * 5).to(dtype_of(precision))
    asked: list[str] = []

    def record(layer: GaborConv3d, inputs: tuple[torch.Tensor]) -> None:
        asked.append(layer_name(*inputs, layer.out_channels, layer.kernel_size))

    network.encoder[2].units[0][0].register_forward_pre_hook(record)
    with algorithms.in_precision(precision), torch.no_grad():
        network(torch.randn(2, 1, 16, 16, 16, dtype=dtype_of(precision)))
    assert asked[0] in named_layers(config)


def test_a_layer_is_timed_both_ways() -> None:
    assert min(measure(SMALL, "32-true")) > 0
    assert min(measure(SMALL, "bf16-mixed")) > 0


def test_a_large_direct_convolution_is_timed_on_some_planes() -> None:
    assert planes_to_time(SMALL) == 4
    large = SMALL._replace(shape=(1, 100, 64, 64, 64))
    assert planes_to_time(large) == 60
    assert planes_to_time(large._replace(shape=(1, 100, 640, 640, 640))) == 6


def test_planes_of_taps_are_counted_where_they_meet_voxels() -> None:
    for depth in (1, 2, 3, 8):
        ones, taps = torch.ones(1, 1, depth), torch.ones(1, 1, 5)
        met = nn.functional.conv1d(ones, taps, padding=2).sum()
        assert tap_planes(depth, 5) == met


def test_what_was_timed_is_kept() -> None:
    keep({"a": Measurement(1.0, 2.0)})
    assert read_table(table_file()) == {"a": Measurement(1.0, 2.0)}
    assert json.loads(table_file().read_text())[0]["faster"] == "direct"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "kernel=conventional",
            r"kernel must have Gabor layers of .*, got conventional",
        ),
        ("kernel.gabor.kernel_size=13", r"up to 11³ taps, got mixed"),
        ("size=0", "size must be a positive integer, got 0"),
        ("batch_size=two", "batch_size must be a positive integer, got two"),
        ("precision=8", r"precision must be 32-true \| bf16-mixed \| 64-true, got 8"),
    ],
)
def test_wrong_settings_are_named(override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        named_layers(configuration(override, SMALL_CHANNELS))


def test_layers_are_timed_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    timed: list[Layer] = []
    monkeypatch.setattr(algorithms, "native_available", lambda: True)
    monkeypatch.setattr(
        algorithms, "measure", lambda layer, _: timed.append(layer) or Measurement(1.0, 2.0)
    )
    first = configuration("size=32", SMALL_CHANNELS)
    algorithms.show_choices(first)
    count = len(named_layers(first))
    assert len(timed) == count
    algorithms.show_choices(first)
    assert len(timed) == count
    algorithms.show_choices(configuration("size=32", "again=true", SMALL_CHANNELS))
    assert len(timed) == 2 * count
    assert capsys.readouterr().out.count("auto takes") == 3
