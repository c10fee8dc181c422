"""Whole training steps of the paper's networks, and of the same networks written plainly."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.autograd.profiler import profile

from gaborseg.benchmarks.memory import extra_peak_memory
from gaborseg.benchmarks.options import Benchmark, at_least, check_size
from gaborseg.benchmarks.plain import PlainGaborConv3d, PlainVNetDS, one_hot_pcc, plain_conv3d
from gaborseg.benchmarks.report import Cell, Table
from gaborseg.benchmarks.timing import interleave
from gaborseg.layers import ConventionalConv3d, GaborConv3d
from gaborseg.losses import PCCLoss
from gaborseg.networks import Convolution, VNetDS

_NUM_CLASSES = 20
RATES = {"sigma": 10, "theta": 10, "amplitude": 1, "frequency": 2, "phase": 10}
TRAINED_GABOR = partial(GaborConv3d, initial="white", rates=RATES)
KERNELS: dict[str, list[Convolution]] = {
    "conventional": [ConventionalConv3d] * 5,
    "mixed": [ConventionalConv3d] * 2 + [TRAINED_GABOR] * 3,
    "gabor": [TRAINED_GABOR] * 5,
}
"""As they are trained by default."""
_STOCK = "conventional, stock 3³"
PLAIN_KERNELS: dict[str, Convolution] = {
    "conventional": plain_conv3d,
    "gabor": PlainGaborConv3d,
}

_Step = Callable[[], object]


@dataclass(frozen=True)
class NetworkBenchmark(Benchmark):
    """Training steps of whole networks: forward, PCC loss, backward, NAdam.

    Attributes:
        size: Side of the input volume, in voxels.
        plain: Whether to time the networks written plainly, too, which takes most of the time.
        profile: How many operators to list for each network, those that take most time; or 0.
        checkpointing: Networks are timed also with the features of 1, 2 ... so many levels computed
            again in the backward pass.
        compile: Whether to time the networks compiled by ``torch.compile``, too: minutes go by
            before the first step.

    Raises:
        ValueError: An option is out of range.
    """

    size: int = 64
    plain: bool = True
    profile: int = 0
    checkpointing: int = 0
    compile: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size(self.size)
        at_least("profile", self.profile, 0)
        at_least("checkpointing", self.checkpointing, 0)

    def tables(self) -> list[Table]:
        """Time the steps, and list their operators if that was asked for."""
        steps = _training_steps(self.size, self.checkpointing, plain=self.plain)
        tables = []
        if self.compile:
            compiled = _compiled_steps(self.size)
            tables.append(_first_steps_table(compiled))
            steps |= compiled
        tables.append(steps_table(steps, self.size, self.repeats))
        if self.profile:
            tables += [profile_table(name, steps[name], self.profile) for name in KERNELS]
        return tables


def _training_steps(size: int, checkpointing: int = 0, *, plain: bool) -> dict[str, _Step]:
    """A training step of each network, by name, on one random volume with random labels."""
    image, label = _batch(size)
    networks = {name: network(name) for name in KERNELS}
    for levels in range(1, checkpointing + 1):
        networks |= {f"{name}, checkpointing={levels}": network(name, levels) for name in KERNELS}
    networks[_STOCK] = VNetDS(1, _NUM_CLASSES, [plain_conv3d] * 5)
    ours = {name: training_step(net, PCCLoss(), image, label) for name, net in networks.items()}
    plainly = {
        f"{name}, plain": training_step(plain_network(name), one_hot_pcc, image, label)
        for name in (PLAIN_KERNELS if plain else ())
    }
    return {**ours, **plainly, "conventional, again": ours["conventional"]}


def _compiled_steps(size: int) -> dict[str, _Step]:
    """A training step of each network as ``compile=default`` trains it."""
    image, label = _batch(size)
    steps = {}
    for name in KERNELS:
        compiled = network(name)
        compiled.forward = torch.compile(compiled.forward)  # type: ignore[method-assign]
        steps[f"{name}, compiled"] = training_step(compiled, PCCLoss(), image, label)
    return steps


def _first_steps_table(steps: dict[str, _Step]) -> Table:
    """What compiling takes: the first steps of compiled networks."""
    rows: list[dict[str, Cell]] = []
    for name, step in steps.items():
        start = time.perf_counter()
        step()
        rows.append({"network": name, "first step [s]": time.perf_counter() - start})
    return Table("The first step, which compiles", rows)


def _batch(size: int) -> tuple[Tensor, Tensor]:
    """One random volume (1, 1, N, N, N), and random labels (1, N, N, N)."""
    image = torch.randn(1, 1, size, size, size)
    return image, torch.randint(_NUM_CLASSES, (1, size, size, size))


def network(kernel: str, checkpointing: int = 0) -> VNetDS:
    """The network that is trained with `kernel=...`, for one image channel."""
    return VNetDS(1, _NUM_CLASSES, KERNELS[kernel], checkpointing=checkpointing)


def plain_network(kernel: str) -> PlainVNetDS:
    """The same network, written plainly."""
    return PlainVNetDS(_NUM_CLASSES, PLAIN_KERNELS[kernel])


def training_step(
    network: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], image: Tensor, label: Tensor
) -> _Step:
    """A call that trains a network on one batch."""
    optimizer = torch.optim.NAdam(network.parameters(), lr=1e-3, eps=1e-7)

    def step() -> None:
        optimizer.zero_grad()
        loss(network(image), label).backward()
        optimizer.step()

    return step


def steps_table(steps: dict[str, _Step], size: int, repeats: int) -> Table:
    """Time and memory of every step, against the conventional network and the plain ones."""
    memory = {name: extra_peak_memory(step) for name, step in steps.items()}
    timings = interleave(steps, repeats)
    rows: list[dict[str, Cell]] = []
    for name in steps:
        same = name.partition(",")[0]
        rows.append(
            {
                "network": name,
                "step [s]": timings[name].spread,
                "step / conventional": timings[name].ratio(timings["conventional"]),
                "step / same network": None if name == same else timings[name].ratio(timings[same]),
                "extra memory [MiB]": memory[name],
            }
        )
    return Table(f"Training step at {size}³, float32, batch 1: forward, PCC, backward, NAdam", rows)


def profile_table(name: str, step: _Step, count: int) -> Table:
    """The operators of a step that take most time themselves."""
    with profile(use_kineto=False) as profiler:
        step()
    events = sorted(profiler.key_averages(), key=lambda event: -event.self_cpu_time_total)
    whole = sum(event.self_cpu_time_total for event in events)
    rows: list[dict[str, Cell]] = [
        {
            "operator": event.key,
            "calls": event.count,
            "self [ms]": event.self_cpu_time_total / 1e3,
            "share": event.self_cpu_time_total / whole,
        }
        for event in events[:count]
    ]
    return Table(f"Operators of one step of the {name} network", rows)
