from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing import start_processes
from torch.nn.parallel import DistributedDataParallel

from gaborseg.layers import ConventionalConv3d, GaborConv3d
from gaborseg.losses import CCCLoss, CrossEntropyLoss, DiceLoss, PCCLoss
from gaborseg.networks import VNetDS

LOSSES = (PCCLoss, CCCLoss, DiceLoss, CrossEntropyLoss)
PROCESSES = 2


def network() -> nn.Module:
    torch.manual_seed(1)
    conv = [ConventionalConv3d] * 2 + [GaborConv3d] * 3
    return VNetDS(
        1, 3, conv, channels=[4, 4, 4, 4, 8], depths_down=[1] * 5, depths_up=[1] * 4
    ).double()


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    image = torch.randn(PROCESSES, 1, 16, 16, 16, generator=generator, dtype=torch.float64)
    return image, torch.randint(3, (PROCESSES, 16, 16, 16), generator=generator)


def gradients(model: nn.Module, image: Tensor, label: Tensor) -> list[dict[str, Tensor]]:
    """The gradient of every parameter, a dict a loss."""
    found = []
    for loss in LOSSES:
        model.zero_grad()
        loss()(model(image), label).backward()
        named = model.named_parameters()
        found.append({name.removeprefix("module."): p.grad.clone() for name, p in named})
    return found


def one_of_two(rank: int, folder: Path) -> None:
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=PROCESSES)
    image, label = (tensor[rank : rank + 1] for tensor in batch())
    found = gradients(DistributedDataParallel(network()), image, label)
    torch.save(found, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> list[list[dict[str, Tensor]]]:
    folder = tmp_path_factory.mktemp("ddp")
    start_processes(one_of_two, (folder,), nprocs=PROCESSES, start_method="fork")
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(PROCESSES)]


@pytest.mark.slow
@pytest.mark.parametrize("index", range(len(LOSSES)), ids=[loss.__name__ for loss in LOSSES])
def test_two_processes_with_one_subject_each_have_the_gradient_of_a_batch_of_two(
    together: list[list[dict[str, Tensor]]], index: int
) -> None:
    alone = gradients(network(), *batch())[index]
    for rank in range(PROCESSES):
        for name, gradient in together[rank][index].items():
            scale = float(alone[name].abs().max())
            torch.testing.assert_close(gradient, alone[name], rtol=0, atol=1e-9 * scale)
