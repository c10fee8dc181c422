"""Whether kernels are synthesised rightly on this machine's GPU, and what fused synthesis saves.

    python -m src.check_gpu
    python -m src.check_gpu size=64 repeats=5 output=outputs/check_gpu.json

Two tables of errors, times and memory, fused against naive: synthesis of all kernels of the
Gabor-only network, forward and backward, and training steps of the paper's three networks in three
precisions. Alternatives take turns; times are medians. The same numbers go to a JSON file.
"""

import copy
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from src.benchmarks.plain import gabor_kernel_on_grid
from src.benchmarks.report import Cell, Table
from src.benchmarks.timing import interleave
from src.command import UserError, build, folder_name, run_command
from src.layers import GaborConv3d
from src.layers.spectral import synthesise
from src.parameters import CONFIGURATIONS

T = TypeVar("T")
Step = Callable[[], object]
Synthesis = Callable[[Tensor, int], Tensor]

NETWORKS = ("conventional", "mixed", "gabor")
PRECISIONS = ("float32", "tf32", "bf16-mixed")
SYNTHESES: dict[str, Synthesis] = {"fused": synthesise, "naive": gabor_kernel_on_grid}
NAIVE = ("kernel.gabor._target_=src.benchmarks.plain.OnGridGaborConv3d", "algorithm=direct")
NUM_CLASSES = 20
MEBIBYTE = 2**20


@dataclass
class Options:
    """What the command can be told, as ``key=value``."""

    device: str = "cuda"
    size: int = 128
    repeats: int = 10
    output: str = "outputs/check_gpu.json"


def main() -> None:
    """Measure, print both tables and write the JSON file."""
    given = OmegaConf.merge(OmegaConf.structured(Options), OmegaConf.from_cli(sys.argv[1:]))
    options = Options(**{str(key): value for key, value in given.items()})
    check(options)
    print("\n\n".join(table.markdown() for table in measure(options)))


def check(options: Options) -> None:
    """Raise a UserError unless the options make sense on this machine."""
    device = torch.device(options.device)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device must be a GPU that torch can use, got {options.device!r}")
    if options.size < 16 or options.size % 16:
        raise UserError(f"size must be a positive multiple of 16, got {options.size}")
    if options.repeats < 1:
        raise UserError(f"repeats must be at least 1, got {options.repeats}")


def measure(options: Options) -> list[Table]:
    """Return both tables and write them to the output file."""
    device = torch.device(options.device)
    steps = [row for kernel in NETWORKS for row in network_rows(kernel, options, device)]
    tables = [
        Table("Synthesis of all Gabor kernels, both ways", synthesis_rows(options.repeats, device)),
        Table(f"Training step at {options.size}³, batch 1", steps),
    ]
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    record = {**asdict(options), "name": name, "torch": torch.__version__}
    output = Path(options.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(record | {"tables": [t.as_json() for t in tables]}, indent=2))
    return tables


def synthesis_rows(repeats: int, device: torch.device) -> list[dict[str, Cell]]:
    """Return error, time and memory of each synthesis, for all kernels of the Gabor network."""
    modules = networks_of("gabor", device)["fused"].modules()
    layers = [layer for layer in modules if isinstance(layer, GaborConv3d)]
    grads = [torch.randn_like(layer.kernel()) for layer in layers]
    rows: list[dict[str, Cell]] = []
    steps = {name: partial(both_ways, f, layers, grads) for name, f in SYNTHESES.items()}
    for name, cost in costs(steps, repeats, device).items():
        errors = [
            synthesis_errors(SYNTHESES[name], *pair) for pair in zip(layers, grads, strict=True)
        ]
        kernel, *gradients = map(max, zip(*errors, strict=True))
        worst: dict[str, Cell] = {"kernel error": kernel, "gradient error": max(gradients)}
        rows.append({"synthesis": name, **worst, **cost})
    return rows


def both_ways(
    synthesis: Synthesis,
    layers: Sequence[GaborConv3d],
    grads: Sequence[Tensor],
    dtype: torch.dtype = torch.float32,
) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Return the kernels of all layers, then the gradients by all parameters."""
    parameters = [layer.parameters_of_kernels().detach() for layer in layers]
    leaves = [values.to(dtype).requires_grad_() for values in parameters]
    pairs = zip(leaves, layers, strict=True)
    kernels = [synthesis(leaf, layer.kernel_size) for leaf, layer in pairs]
    return kernels, torch.autograd.grad(kernels, leaves, [grad.to(dtype) for grad in grads])


def synthesis_errors(synthesis: Synthesis, layer: GaborConv3d, grad: Tensor) -> list[float]:
    """Return the errors of a layer's kernels and of its eight gradients, against float64."""
    (kernel,), (gradient,) = both_ways(synthesis, [layer], [grad])
    (exact,), (slope,) = both_ways(gabor_kernel_on_grid, [layer], [grad], torch.float64)
    return [
        relative_error(*pair) for pair in zip((kernel, *gradient), (exact, *slope), strict=True)
    ]


def relative_error(value: Tensor, reference: Tensor) -> float:
    """Return the largest difference over the largest reference value."""
    value, reference = value.detach(), reference.detach()
    return float((value - reference).abs().max() / reference.abs().max())


def network_rows(kernel: str, options: Options, device: torch.device) -> list[dict[str, Cell]]:
    """Return error, time and memory of a network's step, for each synthesis and precision."""
    networks = networks_of(kernel, device)
    errors, steps = logit_errors(networks, options.size // 4, device), {}
    for synthesis, network in networks.items():
        step = training_step(configuration(kernel), network, options.size, device)
        for precision in PRECISIONS:
            steps[f"{synthesis} {precision}"] = partial(in_precision, precision, device, step)
    rows: list[dict[str, Cell]] = []
    for name, cost in costs(steps, options.repeats, device).items():
        synthesis, precision = name.split()
        variant: dict[str, Cell] = {"synthesis": synthesis, "precision": precision}
        rows.append({"network": kernel, **variant, "error of logits": errors[name], **cost})
    return rows


def networks_of(kernel: str, device: torch.device) -> dict[str, nn.Module]:
    """Return the same network with each synthesis; one that has no Gabor kernels only once."""

    def network(*overrides: str) -> nn.Module:
        node = configuration(kernel, *overrides).network
        built: nn.Module = build(node, in_channels=1, num_classes=NUM_CLASSES).to(device)
        return built

    if kernel == "conventional":
        return {"none": network()}
    fused, naive = network(), network(*NAIVE)
    naive.load_state_dict(fused.state_dict())
    return {"fused": fused, "naive": naive}


def logit_errors(
    networks: Mapping[str, nn.Module], size: int, device: torch.device
) -> dict[str, float]:
    """Return the error of each network's logits in each precision, against naive float64."""
    image = torch.randn(1, 1, size, size, size, device=device)
    *_, reference = networks.values()
    with torch.no_grad():
        truth = copy.deepcopy(reference).double()(image.double())
        return {
            f"{synthesis} {precision}": relative_error(
                in_precision(precision, device, partial(network, image)), truth
            )
            for synthesis, network in networks.items()
            for precision in PRECISIONS
        }


def training_step(config: DictConfig, network: nn.Module, size: int, device: torch.device) -> Step:
    """Return a call that trains a network on one random volume, with the configured loss."""
    image = torch.randn(1, 1, size, size, size, device=device)
    label = torch.randint(NUM_CLASSES, (1, size, size, size), device=device)
    loss, optimizer = build(config.loss), build(config.optimizer)(network.parameters())

    def step() -> None:
        optimizer.zero_grad()
        loss(network(image), label).backward()
        optimizer.step()

    return step


def in_precision(precision: str, device: torch.device, step: Callable[[], T]) -> T:
    """Call a function with TF32 on or off, and under bfloat16 autocast or not."""
    tf32 = precision != "float32"
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed"):
        return step()


def costs(
    steps: Mapping[str, Step], repeats: int, device: torch.device
) -> dict[str, dict[str, Cell]]:
    """Return median time and peak of extra memory of each step; the steps take turns."""

    def clock() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    timings = interleave(steps, repeats, clock)
    return {
        name: {
            "time [ms]": timings[name].spread.scaled(1e3),
            "extra memory [MiB]": extra_memory(step, device),
        }
        for name, step in steps.items()
    }


def extra_memory(step: Step, device: torch.device) -> float | None:
    """Return how much more GPU memory is allocated at the peak of a step than before it, in MiB."""
    if device.type != "cuda":
        return None
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    step()
    return (torch.cuda.max_memory_allocated(device) - before) / MEBIBYTE


def configuration(kernel: str, *overrides: str) -> DictConfig:
    """Return the configuration that ``src.train kernel=...`` would take."""
    OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)
    with initialize_config_dir(str(CONFIGURATIONS), version_base="1.3"):
        return compose("config", [f"kernel={kernel}", *overrides])


if __name__ == "__main__":
    run_command(main)
