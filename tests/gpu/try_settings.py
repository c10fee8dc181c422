"""Time and memory of a training step by setting on a card: a program, no test.

    PYTHONPATH=src python tests/gpu/try_settings.py [compile]

For each network: features of no, one or two levels computed again (`network.checkpointing`), and
whether that gives the same gradients; `trainer.benchmark=true`; weights and volumes in
`channels_last`; with the argument also `compile=default`, which takes minutes.
"""

import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn

from gaborseg.benchmarks.gpu import configuration, costs, in_precision, training_step
from gaborseg.interface import build

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SIZE = 128 if DEVICE.type == "cuda" else 16
SETTINGS = {f"checkpointing={levels}": [f"network.checkpointing={levels}"] for levels in range(3)}


def network_of(kernel: str, *overrides: str) -> nn.Module:
    torch.manual_seed(0)
    node = configuration(kernel, *overrides).network
    network: nn.Module = build(node, in_channels=1, num_classes=20)
    return network.to(DEVICE)


def step_of(
    kernel: str, network: nn.Module, precision: str, called: Callable[[Tensor], Tensor] | None
) -> Callable[[], object]:
    step = training_step(configuration(kernel), network, SIZE, DEVICE, called=called)
    return lambda: in_precision(precision, DEVICE, step)


def with_benchmark(step: Callable[[], object]) -> Callable[[], object]:
    """A step for which cuDNN tries its algorithms."""

    def run() -> None:
        torch.backends.cudnn.benchmark = True
        step()
        torch.backends.cudnn.benchmark = False

    return run


def steps_of(kernel: str, precision: str) -> dict[str, Callable[[], object]]:
    plain = network_of(kernel)
    steps = {
        name: step_of(kernel, network_of(kernel, *overrides), precision, None)
        for name, overrides in SETTINGS.items()
    }
    steps["trainer.benchmark=true"] = with_benchmark(step_of(kernel, plain, precision, None))
    last = network_of(kernel).to(memory_format=torch.channels_last_3d)
    steps["channels_last"] = step_of(
        kernel, last, precision, lambda x: last(x.to(memory_format=torch.channels_last_3d))
    )
    if "compile" in sys.argv:
        compiled = network_of(kernel)
        steps["compile=default"] = step_of(
            kernel, compiled, precision, torch.compile(compiled.forward)
        )
    return steps


def gradients(network: nn.Module, precision: str) -> list[Tensor]:
    torch.manual_seed(1)
    image = torch.randn(1, 1, SIZE, SIZE, SIZE, device=DEVICE)
    loss = in_precision(precision, DEVICE, lambda: network(image).float().square().mean())
    return list(torch.autograd.grad(loss, [*network.parameters()]))


def agreement(kernel: str, precision: str) -> str:
    """Whether gradients are the same bit for bit, and when they are computed twice alike."""
    torch.backends.cudnn.deterministic = True
    kept, again, other = (
        gradients(network_of(kernel, f"network.checkpointing={levels}"), precision)
        for levels in (0, 0, 2)
    )
    torch.backends.cudnn.deterministic = False
    repeats, same = (all(map(torch.equal, kept, values)) for values in (again, other))
    return f"gradients repeat: {repeats}; computed again they are the same: {same}"


def main() -> None:
    print(torch.cuda.get_device_name() if DEVICE.type == "cuda" else "CPU", torch.__version__)
    for kernel in ("conventional", "mixed", "gabor"):
        for precision in ("bf16-mixed", "tf32"):
            print(f"{kernel}, {precision}: {agreement(kernel, precision)}")
            for name, row in costs(steps_of(kernel, precision), 10, DEVICE).items():
                values = (f"{key} {getattr(cell, 'median', cell)}" for key, cell in row.items())
                print(f"  {name}: {', '.join(values)}")


if __name__ == "__main__":
    main()
