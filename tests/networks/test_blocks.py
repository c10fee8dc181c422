import copy

import pytest
import torch
from torch import Tensor, nn

from gaborseg.networks import blocks
from gaborseg.networks.blocks import ResidualBlock

SHAPE = (2, 3, 4, 5, 6)


def block(dropout: float = 0.0) -> ResidualBlock:
    def convolution(inputs: int, outputs: int) -> nn.Module:
        return nn.Conv3d(inputs, outputs, 3, padding=1)

    options = {"convolution": convolution, "activation": nn.ELU, "groups": 2}
    return ResidualBlock(3, 4, depth=2, dropout=dropout, **options)


def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "fuses", lambda _: True)


def gradients(module: nn.Module, x: Tensor) -> list[Tensor]:
    (module(x) ** 2).sum().backward()
    return [parameter.grad for parameter in module.parameters()]


def test_on_a_cpu_units_are_their_parts_one_after_the_other() -> None:
    module, x = block(), torch.randn(SHAPE)
    units = [nn.Sequential(*unit) for unit in module.units]
    want = nn.Sequential(*units)(x) + nn.Sequential(*module.shortcut)(x)
    assert torch.equal(module(x), want)


def test_parameters_have_the_names_that_checkpoints_know() -> None:
    names = {f"{unit}.{part}" for unit in ("units.0", "units.1") for part in ("0", "1")}
    names |= {"shortcut.1"}
    want = {f"{name}.{kind}" for name in names for kind in ("weight", "bias")}
    assert set(block().state_dict()) == want | {"shortcut.0.weight"}


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_way_on_a_gpu_computes_the_same(
    dropout: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, x = block(dropout).double(), torch.randn(SHAPE).double()
    other = copy.deepcopy(module)
    torch.manual_seed(1)
    want = gradients(module, x)
    as_on_a_gpu(monkeypatch)
    torch.manual_seed(1)
    torch.testing.assert_close(gradients(other, x), want)


def test_dropout_is_not_lost_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    as_on_a_gpu(monkeypatch)
    module, x = block(0.5), torch.randn(SHAPE)
    assert not torch.equal(module(x), module(x))
    module.eval()
    assert torch.equal(module(x), module(x))
