"""Whether kernels are synthesised rightly on this machine's GPU, and what fused synthesis saves."""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from gaborseg.benchmarks.options import Benchmark, check_size
from gaborseg.benchmarks.plain import OnGridGaborConv3d, gabor_kernel_on_grid
from gaborseg.benchmarks.report import Cell, Table
from gaborseg.benchmarks.timing import interleave
from gaborseg.interface import build, compose_config
from gaborseg.layers import GaborConv3d, synthesise

T = TypeVar("T")
_Step = Callable[[], object]
_Synthesis = Callable[[Tensor, int], Tensor]

NETWORKS = ("conventional", "mixed", "gabor")
_PRECISIONS = ("float32", "tf32", "bf16-mixed")
_SYNTHESES: dict[str, _Synthesis] = {"fused": synthesise, "naive": gabor_kernel_on_grid}
_NAIVE = (f"kernel.gabor._target_={OnGridGaborConv3d.__module__}.{OnGridGaborConv3d.__name__}",)
_NUM_CLASSES = 20
_MEBIBYTE = 2**20


@dataclass(frozen=True)
class GpuBenchmark(Benchmark):
    """Kernels synthesised by fused code against naive ones, and training steps, on a GPU.

    Synthesis of all kernels of the Gabor-only network, forward and backward, and training steps of
    the paper's three networks in three precisions: errors, times and memory.

    Attributes:
        device: As torch names it.
        size: Voxels a side of the volumes, a multiple of 16.
        repeats: Timed rounds, after one to warm up.
    """

    device: str = "cuda"
    size: int = 128
    repeats: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size(self.size)
        device = torch.device(self.device)
        if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
            raise ValueError(f"device must be a GPU that torch can use, got {self.device!r}")

    def tables(self) -> list[Table]:
        """Measure, and return the tables of synthesis and of training steps."""
        device = torch.device(self.device)
        steps = [row for kernel in NETWORKS for row in _network_rows(kernel, self, device)]
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
        synthesis = _synthesis_rows(self.repeats, device)
        return [
            Table(f"Synthesis of all Gabor kernels, both ways, {name}", synthesis),
            Table(f"Training step at {self.size}³, batch 1, {name}", steps),
        ]


def _synthesis_rows(repeats: int, device: torch.device) -> list[dict[str, Cell]]:
    """Return error, time and memory of each synthesis, for all kernels of the Gabor network."""
    modules = _networks_of("gabor", device)["fused"].modules()
    layers = [layer for layer in modules if isinstance(layer, GaborConv3d)]
    grads = [torch.randn_like(layer.kernel()) for layer in layers]
    rows: list[dict[str, Cell]] = []
    steps = {name: partial(_both_ways, f, layers, grads) for name, f in _SYNTHESES.items()}
    for name, cost in costs(steps, repeats, device).items():
        errors = [
            _synthesis_errors(_SYNTHESES[name], *pair) for pair in zip(layers, grads, strict=True)
        ]
        kernel, *gradients = map(max, zip(*errors, strict=True))
        worst: dict[str, Cell] = {"kernel error": kernel, "gradient error": max(gradients)}
        rows.append({"synthesis": name, **worst, **cost})
    return rows


def _both_ways(
    synthesis: _Synthesis,
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


def _synthesis_errors(synthesis: _Synthesis, layer: GaborConv3d, grad: Tensor) -> list[float]:
    """Return the errors of a layer's kernels and of its eight gradients, against float64."""
    (kernel,), (gradient,) = _both_ways(synthesis, [layer], [grad])
    (exact,), (slope,) = _both_ways(gabor_kernel_on_grid, [layer], [grad], torch.float64)
    return [
        _relative_error(*pair) for pair in zip((kernel, *gradient), (exact, *slope), strict=True)
    ]


def _relative_error(value: Tensor, reference: Tensor) -> float:
    """Return the largest difference over the largest reference value."""
    value, reference = value.detach(), reference.detach()
    return float((value - reference).abs().max() / reference.abs().max())


def _network_rows(
    kernel: str, options: GpuBenchmark, device: torch.device
) -> list[dict[str, Cell]]:
    """Return error, time and memory of a network's step, for each synthesis and precision."""
    networks = _networks_of(kernel, device)
    errors, steps = _logit_errors(networks, options.size // 4, device), {}
    for synthesis, network in networks.items():
        step = training_step(configuration(kernel), network, options.size, device)
        for precision in _PRECISIONS:
            steps[f"{synthesis} {precision}"] = partial(in_precision, precision, device, step)
    rows: list[dict[str, Cell]] = []
    for name, cost in costs(steps, options.repeats, device).items():
        synthesis, precision = name.split()
        variant: dict[str, Cell] = {"synthesis": synthesis, "precision": precision}
        rows.append({"network": kernel, **variant, "error of logits": errors[name], **cost})
    return rows


def _networks_of(kernel: str, device: torch.device) -> dict[str, nn.Module]:
    """Return the same network with each synthesis; one that has no Gabor kernels only once."""

    def network(*overrides: str) -> nn.Module:
        node = configuration(kernel, *overrides).network
        built: nn.Module = build(node, in_channels=1, num_classes=_NUM_CLASSES).to(device)
        return built

    if kernel == "conventional":
        return {"none": network()}
    fused, naive = network(), network(*_NAIVE)
    naive.load_state_dict(fused.state_dict())
    return {"fused": fused, "naive": naive}


def _logit_errors(
    networks: Mapping[str, nn.Module], size: int, device: torch.device
) -> dict[str, float]:
    """Return the error of each network's logits in each precision, against naive float64."""
    image = torch.randn(1, 1, size, size, size, device=device)
    *_, reference = networks.values()
    with torch.no_grad():
        truth = copy.deepcopy(reference).double()(image.double())
        return {
            f"{synthesis} {precision}": _relative_error(
                in_precision(precision, device, partial(network, image)), truth
            )
            for synthesis, network in networks.items()
            for precision in _PRECISIONS
        }


def training_step(
    config: DictConfig,
    network: nn.Module,
    size: int,
    device: torch.device,
    *,
    batch: int = 1,
    called: Callable[[Tensor], Tensor] | None = None,
) -> _Step:
    """Return a call that trains a network on random volumes, with the configured loss.

    Args:
        config: As `configuration` returns it.
        network: Its parameters are trained.
        size: Voxels a side of the volumes.
        device: Where the network is.
        batch: Volumes of a step.
        called: What is called in its place, and calls it.
    """
    forward = called or network
    image = torch.randn(batch, 1, size, size, size, device=device)
    label = torch.randint(_NUM_CLASSES, (batch, size, size, size), device=device)
    loss, optimizer = build(config.loss), build(config.optimizer)(network.parameters())

    def step() -> None:
        optimizer.zero_grad()
        loss(forward(image), label).backward()
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
    steps: Mapping[str, _Step], repeats: int, device: torch.device
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
            "extra memory [MiB]": _extra_memory(step, device),
        }
        for name, step in steps.items()
    }


def _extra_memory(step: _Step, device: torch.device) -> float | None:
    """Return how much more GPU memory is allocated at the peak of a step than before it, in MiB."""
    if device.type != "cuda":
        return None
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    step()
    return (torch.cuda.max_memory_allocated(device) - before) / _MEBIBYTE


def configuration(kernel: str, *overrides: str) -> DictConfig:
    """Return the configuration that ``train kernel=...`` would take."""
    return compose_config([f"kernel={kernel}", *overrides])
