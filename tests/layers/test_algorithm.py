import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from src.layers import GaborConv3d, algorithm, gabor, settle_algorithms
from src.layers.algorithm import (
    Measurement,
    faster_directly,
    layer_name,
    read_table,
    table_file,
    table_rows,
)

VOLUME = torch.randn(1, 2, 4, 5, 6)
NAME = "2 to 3 at 4 x 5 x 6, 3³ taps, batch 1, float32"
CPU = torch.device("cpu")


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Holds what was filtered spectrally, which gives zeros here."""
    filtered: list[Tensor] = []

    def spectral_conv3d(x: Tensor, parameters: Tensor, kernel_size: int) -> Tensor:
        filtered.append(x)
        return x.new_zeros(len(x), parameters.shape[2], *x.shape[2:])

    monkeypatch.setattr(gabor, "spectral_conv3d", spectral_conv3d)
    return filtered


def test_direct_is_the_convolution_with_the_kernel() -> None:
    layer = GaborConv3d(2, 3, 5, algorithm="direct", bias=True)
    nn.init.normal_(layer.bias)
    wanted = nn.functional.conv3d(VOLUME, layer.kernel(), layer.bias, padding=2)
    assert torch.equal(layer(VOLUME), wanted)


def test_both_ways_give_the_same_values() -> None:
    spectral = GaborConv3d(2, 3, 3).double()
    direct = GaborConv3d(2, 3, 3, algorithm="direct").double()
    direct.load_state_dict(spectral.state_dict())
    torch.testing.assert_close(direct(VOLUME.double()), spectral(VOLUME.double()))


def test_auto_is_spectral_on_a_cpu(served: list[Tensor]) -> None:
    layer = GaborConv3d(2, 3, 3)
    layer(VOLUME)
    assert len(served) == 1
    assert layer.way(VOLUME.to("meta")) == "direct"
    assert GaborConv3d(2, 3, 13).way(VOLUME) == "spectral"


def test_auto_is_direct_where_that_was_measured_to_be_faster(served: list[Tensor]) -> None:
    layer = GaborConv3d(2, 3, 3)
    settle_algorithms(nn.Sequential(layer), CPU, [NAME])
    layer(VOLUME)
    assert not served
    layer(VOLUME[..., 1:])  # another shape, not in the table
    assert len(served) == 1


@pytest.mark.parametrize(("algorithm", "calls"), [("direct", 0), ("spectral", 1)])
def test_what_is_asked_for_wins_over_what_was_measured(
    algorithm: str, calls: int, served: list[Tensor]
) -> None:
    layer = GaborConv3d(2, 3, 3, algorithm=algorithm)
    settle_algorithms(layer, CPU, [NAME] if calls else [])
    layer(VOLUME)
    assert len(served) == calls


def test_autocast_is_another_line_of_the_table() -> None:
    assert layer_name(VOLUME, 3, 3) == NAME
    with torch.autocast("cpu", torch.bfloat16):
        assert layer_name(VOLUME, 3, 3) == NAME.replace("float32", "bfloat16")


def test_a_table_survives_compilation(served: list[Tensor]) -> None:
    layer = GaborConv3d(2, 3, 3)
    settle_algorithms(layer, CPU, [NAME])
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(VOLUME), layer(VOLUME))
    assert not served


def test_an_unknown_algorithm_is_refused() -> None:
    with pytest.raises(ValueError, match="must be auto or direct or spectral, got 'fast'"):
        GaborConv3d(2, 3, algorithm="fast")


def test_spectral_layers_are_refused_on_other_devices() -> None:
    layer = GaborConv3d(2, 3, 3, algorithm="spectral")
    with pytest.raises(ValueError, match="algorithm=spectral needs a CPU, got meta"):
        settle_algorithms(layer, torch.device("meta"), [])
    with pytest.raises(ValueError, match="algorithm=spectral needs a CPU, got meta"):
        layer(VOLUME.to("meta"))


@pytest.mark.parametrize(
    ("direct", "faster"),
    [(80.0, "direct"), (90.0, "direct"), (95.0, "spectral"), (200.0, "spectral")],
)
def test_direct_has_to_be_clearly_faster(direct: float, faster: str) -> None:
    assert Measurement(direct=direct, spectral=100.0).faster == faster


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    table = {NAME: Measurement(1.5, 2.0), "other": Measurement(3.0, 2.0)}
    path = tmp_path / "table.json"
    path.write_text(json.dumps(list(table_rows(table))))
    assert read_table(path) == table
    assert read_table(tmp_path / "none.json") == {}


@pytest.mark.parametrize("text", ["", "[{}]", "3", '[{"layer": "a", "direct_ms": 1}]'])
def test_a_damaged_table_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"table.json is damaged; delete it"):
        read_table(path)


def test_each_number_of_threads_has_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(algorithm, "cache_folder", lambda: tmp_path / "native")
    names = []
    for threads in (2, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        names.append(table_file())
    assert names[0] != names[1]
    assert all(name.is_relative_to(tmp_path) for name in names)


def test_exceptions_are_those_of_the_machines_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(algorithm, "cache_folder", lambda: tmp_path / "native")
    assert faster_directly() == []
    table_file().parent.mkdir()
    table = {NAME: Measurement(1.0, 2.0), "other": Measurement(3.0, 2.0)}
    table_file().write_text(json.dumps(list(table_rows(table))))
    assert faster_directly() == [NAME]
