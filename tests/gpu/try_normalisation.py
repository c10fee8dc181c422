"""Agreement and speed of normalisation, activation and max pooling on a card: a program, no test.

    PYTHONPATH=src python tests/gpu/try_normalisation.py [sweep]

It needs a GPU with torch and Triton, and nothing of Lightning or TorchIO. GB/s counts every volume
that the two passes of each way have to read or write, once a pass.
"""

import itertools
import logging
import sys
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gaborseg.gpu import Normalised, normalisation, pooling, sum_of_normalised
from gaborseg.gpu.group_norm import group_norm
from gaborseg.networks import VNetDS, blocks

LEVELS = [(12, 128), (24, 64), (48, 32), (96, 16), (192, 8)]
DTYPES = {"bf16": torch.bfloat16, "float32": torch.float32}
ELU = normalisation.Rule(1.0, exponential=True)
DEVICE = torch.device("cuda")

Branch = tuple[Tensor, nn.GroupNorm]
Way = Callable[[Sequence[Branch]], Tensor]


def triton_way(branches: Sequence[Branch]) -> Tensor:
    return normalisation.fused_sum([Normalised(x, norm, nn.ELU()) for x, norm in branches], ELU)


def torch_way(branches: Sequence[Branch]) -> Tensor:
    return total(F.elu(group_norm(x, n.weight, n.bias, n.num_groups, n.eps)) for x, n in branches)


def stock_way(branches: Sequence[Branch]) -> Tensor:
    with torch.autocast("cuda", torch.bfloat16, enabled=branches[0][0].dtype == torch.bfloat16):
        return total(F.elu(norm(x)) for x, norm in branches)


def total(volumes) -> Tensor:
    first, *others = volumes
    return first + others[0] if others else first


WAYS: dict[str, Way] = {"triton": triton_way, "torch": torch_way, "stock": stock_way}


def branches_of(channels: int, side: int, dtype: torch.dtype, count: int) -> list[Branch]:
    torch.manual_seed(0)
    shape = (1, channels, side, side, side)
    branches = []
    for _ in range(count):
        norm = nn.GroupNorm(4, channels).to(DEVICE)
        nn.init.normal_(norm.weight, mean=1, std=0.3)
        nn.init.normal_(norm.bias, std=0.3)
        x = (2 * torch.randn(shape, device=DEVICE) + 3).to(dtype).requires_grad_()
        branches.append((x, norm))
    return branches


def results(way: Way, branches: Sequence[Branch], grad: Tensor) -> list[Tensor]:
    """The output, and the gradients by volumes, weights and biases."""
    leaves = [leaf for x, norm in branches for leaf in (x, norm.weight, norm.bias)]
    output = way(branches)
    return [output.detach(), *torch.autograd.grad(output, leaves, grad.to(output.dtype))]


def in_float64(branches: Sequence[Branch], grad: Tensor) -> list[Tensor]:
    wide = []
    for x, norm in branches:
        other = nn.GroupNorm(norm.num_groups, norm.num_channels).to(DEVICE).double()
        other.load_state_dict(norm.state_dict())
        wide.append((x.detach().double().requires_grad_(), other))
    return results(lambda bs: total(F.elu(n(x)) for x, n in bs), wide, grad.double())


def error(values: Sequence[Tensor], references: Sequence[Tensor]) -> str:
    return " ".join(
        f"{((v.double() - r).abs().max() / r.abs().max()).item():.0e}"
        for v, r in zip(values, references, strict=True)
    )


def milliseconds(step: Callable[[], object], repeats: int = 20) -> float:
    """Time on the card of a step, queued several times without a pause."""
    for _ in range(3):
        step()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    torch.cuda._sleep(20_000_000)  # so that the queue is full: launches are not timed
    start.record()
    for _ in range(repeats):
        step()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / repeats


def both_ways(way: Way, branches: Sequence[Branch], grad: Tensor) -> tuple[float, float]:
    leaves = [leaf for x, norm in branches for leaf in (x, norm.weight, norm.bias)]
    output = way(branches)
    fitting = grad.to(output.dtype)
    forward = milliseconds(lambda: way(branches))
    backward = milliseconds(lambda: torch.autograd.grad(output, leaves, fitting, retain_graph=True))
    return forward, backward


def normalise() -> None:
    print("units level         way     forward ms  GB/s  backward ms  GB/s  errors")
    for count, (name, dtype), (channels, side) in itertools.product((1, 2), DTYPES.items(), LEVELS):
        branches = branches_of(channels, side, dtype, count)
        grad = torch.randn_like(branches[0][0])
        reference = in_float64(branches, grad)
        gigabytes = branches[0][0].nbytes / 1e9
        forward_volumes, backward_volumes = (3, 5) if count == 1 else (5, 8)
        for label, way in WAYS.items():
            got = results(way, branches, grad)
            again = results(way, branches, grad)
            same = all(torch.equal(a, b) for a, b in zip(got, again, strict=True))
            forward, backward = both_ways(way, branches, grad)
            print(
                f"{count} {name:8s} {channels:3d}x{side:3d}^3 {label:8s}"
                f"{forward:9.3f} {forward_volumes * gigabytes / forward * 1e3:7.0f}"
                f"{backward:9.3f} {backward_volumes * gigabytes / backward * 1e3:7.0f}"
                f"  {error(got, reference)}{'' if same else '  NOT DETERMINISTIC'}",
                flush=True,
            )


def overhead() -> None:
    """Time of a call on the processor, where the card is never what it waits for."""
    branches = branches_of(12, 4, torch.float32, 2)
    leaves = [leaf for x, norm in branches for leaf in (x, norm.weight, norm.bias)]
    grad = torch.randn_like(branches[0][0])
    units = [Normalised(x, norm, nn.ELU()) for x, norm in branches]
    ways = {
        "dispatched": lambda: sum_of_normalised(*units),
        **{name: lambda way=way: way(branches) for name, way in WAYS.items()},
    }
    for name, way in ways.items():
        for _ in range(20):
            torch.autograd.grad(way(), leaves, grad)
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(200):
            torch.autograd.grad(way(), leaves, grad)
        torch.cuda.synchronize()
        spent = (time.perf_counter() - start) / 200
        print(f"two units, tiny, {name}: {spent * 1e6:.0f} us forward and backward")


def sweep() -> None:
    """Times of other cuts: chunks, block, warps."""
    kept = normalisation._PROGRAMS, normalisation._BLOCK, normalisation._WARPS
    cuts = itertools.product((1024, 2048, 4096), ((4, 1024), (4, 2048), (8, 2048), (8, 4096)))
    for programs, (warps, block) in cuts:
        normalisation._PROGRAMS = programs
        normalisation._BLOCK, normalisation._WARPS = block, warps
        cells = []
        for count, dtype, level in itertools.product((1, 2), DTYPES.values(), LEVELS[:3]):
            branches = branches_of(*level, dtype, count)
            times = both_ways(triton_way, branches, torch.randn_like(branches[0][0]))
            cells.append("/".join(f"{1e3 * t:.0f}" for t in times))
        print(programs, f"block {block} warps {warps}:", *cells, "us", flush=True)
    normalisation._PROGRAMS, normalisation._BLOCK, normalisation._WARPS = kept


def pool() -> None:
    ways = {
        "triton": pooling.fused_max_pool,
        "torch": pooling.plain_max_pool,
        "stock": lambda x: F.max_pool3d(x, 2),
    }
    for (name, dtype), (channels, side) in itertools.product(DTYPES.items(), LEVELS[:4]):
        x = torch.randn(1, channels, side, side, side, device=DEVICE).to(dtype).requires_grad_()
        want = F.max_pool3d(x, 2)
        grad = torch.randn_like(want)
        (want_grad,) = torch.autograd.grad(want, x, grad)
        for label, way in ways.items():
            got = way(x)
            (got_grad,) = torch.autograd.grad(got, x, grad, retain_graph=True)
            agree = torch.equal(got, want) and torch.equal(got_grad, want_grad)
            forward = milliseconds(lambda way=way, x=x: way(x))
            backward = milliseconds(
                lambda got=got, x=x, grad=grad: torch.autograd.grad(got, x, grad, retain_graph=True)
            )
            rate = 1.125 * x.nbytes / 1e6
            print(
                f"pool {name:8s} {channels:3d}x{side:3d}^3 {label:8s}{forward:9.3f}"
                f"{rate / forward:7.0f}{backward:9.3f}{rate / backward:7.0f}"
                f"  {'agrees' if agree else 'differs (ties go elsewhere, or wrong)'}",
                flush=True,
            )


def step() -> None:
    """A training step of the conventional network, with torch's normalisation and with ours."""

    def convolution(inputs: int, outputs: int) -> nn.Module:
        return nn.Conv3d(inputs, outputs, 3, padding=1, bias=False)

    torch.manual_seed(0)
    network = VNetDS(1, 20, [convolution] * 5).to(DEVICE)
    image = torch.randn(1, 1, 128, 128, 128, device=DEVICE)
    fuses = blocks.fuses
    for name in DTYPES:

        def train(half: bool = name == "bf16") -> None:
            network.zero_grad()
            with torch.autocast("cuda", torch.bfloat16, enabled=half):
                logits = network(image)
            logits.float().square().mean().backward()

        for label, used in (("stock", lambda _: False), ("ours", fuses)):
            blocks.fuses = used
            torch.cuda.reset_peak_memory_stats()
            spent = milliseconds(train, repeats=3)
            peak = torch.cuda.max_memory_allocated() / 2**20
            print(f"step {name} {label}: {spent:.1f} ms, peak {peak:.0f} MiB", flush=True)
    blocks.fuses = fuses


def main() -> None:
    logging.basicConfig()
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    print(torch.cuda.get_device_name(), torch.__version__)
    rules = (ELU, normalisation.Rule(0.0, exponential=False))
    for dtype, rule in itertools.product((*DTYPES.values(), torch.float16), rules):
        print(dtype, rule, "differs by", normalisation._difference(dtype, rule, DEVICE))
    print("pooling differs by", pooling._difference(DEVICE))
    overhead()
    pool()
    normalise()
    step()
    if "sweep" in sys.argv:
        sweep()


if __name__ == "__main__":
    main()
