from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from gaborseg import GaborConv3d, PCCLoss, SegmentationModule
from gaborseg.data import SegmentationData
from gaborseg.networks.blocks import ResidualBlock
from gaborseg.training import network_compiler

Build = Callable[..., SegmentationData]
CPU = torch.device("cpu")


def trained(
    data: SegmentationData, network: nn.Module, folder: Path, compiler: object
) -> SegmentationModule:
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    module = SegmentationModule(
        network, PCCLoss(), structures=("inner", "outer"), compiler=compiler
    )
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", default_root_dir=folder, **quiet)
    trainer.fit(module, datamodule=data)
    trainer.save_checkpoint(folder / "last.ckpt")
    return module


def test_training_steps_alone_go_through_what_the_compiler_returns(
    tiny_data: Build, tmp_path: Path
) -> None:
    data, calls = tiny_data(num_workers=0), []

    def compiler(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        return lambda image: calls.append(image.shape) or forward(image)

    plain = trained(data, nn.Conv3d(1, 3, 1), tmp_path / "plain", None)
    module = trained(data, nn.Conv3d(1, 3, 1), tmp_path / "compiled", compiler)
    assert len(calls) == len(data.split.train)
    states = [one.state_dict() for one in (plain, module)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    saved = torch.load(tmp_path / "compiled" / "last.ckpt", weights_only=True)
    assert saved["state_dict"].keys() == states[0].keys()


@pytest.mark.slow
def test_a_network_that_torch_compiles_trains_to_the_same_weights(
    tiny_data: Build, tmp_path: Path
) -> None:
    network = partial(ResidualBlock, 1, 3, depth=1, convolution=GaborConv3d, groups=1, dropout=0.0)
    compilers = {"plain": None, "compiled": partial(torch.compile, backend="aot_eager")}
    states = [
        trained(
            tiny_data(num_workers=0), network(activation=nn.ELU), tmp_path / name, compiler
        ).state_dict()
        for name, compiler in compilers.items()
    ]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_nothing_is_compiled_unless_it_is_asked_for() -> None:
    assert network_compiler(None, CPU) is None


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match=r"compile must be null, default, .*, got fast"):
        network_compiler("fast", CPU)


def test_a_machine_that_cannot_compile_is_told_before_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(function: object, mode: str) -> None:
        raise RuntimeError("No working C++ compiler found in cpp.cxx\nand more")

    monkeypatch.setattr(torch, "compile", fail)
    expected = r"^compile=default cannot .* machine: No working .* in cpp\.cxx; use compile=null$"
    with pytest.raises(ValueError, match=expected):
        network_compiler("default", CPU)


def test_a_compiler_that_works_is_tried_and_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    monkeypatch.setattr(torch, "compile", lambda f, mode: tried.append(mode) or f)
    compiler = network_compiler("reduce-overhead", CPU)
    assert compiler is not None
    assert compiler(torch.neg)(torch.ones(1)) == -1
    assert tried == ["reduce-overhead"] * 2
