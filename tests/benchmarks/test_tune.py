"""What `benchmark tune` times, and what it keeps; without a GPU nothing is timed."""

import pytest
import torch

from gaborseg.benchmarks import tune
from gaborseg.benchmarks.timing import Spread
from gaborseg.gpu import Choices, Convolution, choice, choices_for

CARD = torch.device("cuda")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_is_no_gpu_is_refused(device: str) -> None:
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ValueError, match="must be a GPU that torch can use"):
        tune.TuneBenchmark(device=device)


def test_every_gabor_layer_of_the_network_is_timed_at_its_level() -> None:
    layers = tune._layers("mixed", (2, 1, 32, 32, 32))
    assert {shape[2] for shape in layers.values()} == {8, 4, 2}
    assert {shape[0] for shape in layers.values()} == {2}
    assert (24, 48, 7) in layers


def test_a_way_is_kept_to_while_it_is_timed_and_no_longer() -> None:
    convolution = Convolution(1, 2, 3, (4, 4, 4), 7, "float32")
    seen = []
    tune._on_the("spectral", convolution, lambda: seen.append(choices_for(CARD)))
    assert seen == [Choices({str(convolution): "spectral"})]
    assert choice._pinned is None


@pytest.mark.parametrize(("graphs", "pay"), [(1.0, True), (2.95, False), (4.0, False)])
def test_graphs_are_chosen_where_they_are_clearly_faster(graphs: float, pay: bool) -> None:
    spreads = Spread(3.0, 2.9, 3.1), Spread(graphs, graphs - 0.1, graphs + 0.1)
    rows = [{"time [ms]": spread} for spread in spreads]
    assert tune._graphs_pay(rows) == pay  # type: ignore[arg-type]


@pytest.mark.parametrize("batch", [1, 2])
def test_a_step_has_as_many_volumes_as_the_layers(
    batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(tune.TuneBenchmark, "__post_init__", lambda self: None)
    monkeypatch.setattr(tune, "training_step", lambda *_, batch, **__: seen.append(batch))
    monkeypatch.setattr(tune, "costs", lambda steps, *_: {})
    tune._steps(tune.TuneBenchmark(device="cpu", size=16, batch=batch), torch.device("cpu"))
    assert seen == [batch, batch]
