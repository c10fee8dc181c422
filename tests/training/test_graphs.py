"""A network replayed as CUDA graphs, as far as it can be tested without a GPU."""

import logging

import pytest
import torch
from torch import nn

from gaborseg.training import GraphedNetwork


@pytest.mark.parametrize("training", [True, False])
def test_on_a_cpu_the_network_is_called_as_it_is(training: bool) -> None:
    network = nn.Conv3d(1, 2, 1).train(training)
    image = torch.randn(1, 1, 2, 3, 4)
    assert torch.equal(GraphedNetwork(network)(image), network(image))


def test_what_cannot_be_recorded_is_launched_and_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("no stream to capture\nat some line")

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", fail)
    network = nn.Conv3d(1, 2, 1)
    with caplog.at_level(logging.WARNING):
        recorded = GraphedNetwork(network)._record(torch.zeros(1, 1, 2, 2, 2), None)
    assert recorded is network
    (line,) = caplog.messages
    assert line.endswith("as no graph can be made: no stream to capture")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_replayed_step_has_the_gradients_of_a_launched_one() -> None:
    network = nn.Sequential(nn.Conv3d(1, 4, 3), nn.ELU(), nn.Conv3d(4, 2, 1)).cuda()
    image = torch.randn(1, 1, 8, 8, 8, device="cuda")
    gradients = []
    for called in (network, GraphedNetwork(network)):
        network.zero_grad()
        called(image).square().mean().backward()
        gradients.append([parameter.grad.clone() for parameter in network.parameters()])
    for launched, replayed in zip(*gradients, strict=True):
        torch.testing.assert_close(replayed, launched)
