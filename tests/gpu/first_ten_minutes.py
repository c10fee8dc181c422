"""All that is to be measured on a card, in ten minutes: a program, no test.

    PYTHONPATH=src python tests/gpu/first_ten_minutes.py FOLDER [kernel ...]

Writes FOLDER/first_ten_minutes.json, whole after every part: the card and the versions; how far
each kernel is from its twin; the choices of `benchmark tune`; a training step of the three networks
in three precisions, plain as a first implementation would be, as it was before these kernels, and
as it is now, in turn; and 60 epochs at 128^3 of each kernel named, whose tables are kept beside it.
"""

import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from gaborseg.benchmarks import gpu as steps
from gaborseg.benchmarks.timing import Spread
from gaborseg.benchmarks.tune import TuneBenchmark
from gaborseg.gpu import Choices, choices_for, normalisation, pin, pooling, resampling
from gaborseg.interface import build
from gaborseg.layers import spectral, spectral_gpu
from gaborseg.losses import on_gpu
from gaborseg.losses.slabs import SlabLogLikelihood, SlabSums
from gaborseg.networks import blocks, upsample, vnet_ds
from gaborseg.training import GraphedNetwork

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SIZE = 128 if DEVICE.type == "cuda" else 16
PRECISIONS = ("bf16-mixed", "tf32", "float32")
NAIVE = "kernel.gabor._target_=gaborseg.benchmarks.plain.OnGridGaborConv3d"
TRAINING = (
    "experiment=paper decision=calibrated rates=tenfold trainer=gpu logger=csv "
    "precision=bf16-mixed trainer.max_epochs=60 data.batch_size=2 data.num_workers=12 "
    "data.augment_on=gpu"
)

Record = dict[str, Any]


def environment() -> Record:
    """The card and what drives it."""
    import triton

    return {
        "card": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "triton": triton.__version__,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def agreement() -> Record:
    """The largest difference of each kernel from its twin in torch."""
    likelihoods = on_gpu._GpuLogLikelihood.apply, SlabLogLikelihood.apply
    sums = on_gpu._GpuSums.apply, SlabSums.apply
    dtypes = (torch.float32, torch.bfloat16, torch.float16)
    elu = normalisation.Rule(1.0, exponential=True)
    return {
        "synthesis": spectral._synthesis_difference(7, DEVICE),
        "spectral convolution, float64 twin": spectral_gpu._difference(DEVICE),
        "pooling": pooling._difference(DEVICE),
        "augmentation": resampling._difference(DEVICE),
        **{f"normalisation, {d}": normalisation._difference(d, elu, DEVICE) for d in dtypes},
        **{
            f"{name}, {dtype}": on_gpu._difference(*pair, 20, dtype, DEVICE)
            for name, pair in (("label sums", sums), ("log-likelihood", likelihoods))
            for dtype in dtypes
        },
    }


@contextlib.contextmanager
def as_before() -> Iterator[None]:
    """Torch's own normalisation, activation and pooling, slabs in the losses, no spectra."""
    names = (blocks, "fuses", lambda features: False), (vnet_ds, "max_pool", _stock_pool)
    slabs = (on_gpu, "gpu_sums", SlabSums.apply), (upsample, "_kept_matrix", upsample._matrix)
    with contextlib.ExitStack() as stack:
        for module, name, old in (*names, *slabs):
            stack.enter_context(mock.patch.object(module, name, old))
        pin(Choices({}))
        try:
            yield
        finally:
            pin(None)


def _stock_pool(features: torch.Tensor) -> torch.Tensor:
    return F.max_pool3d(features, 2)


def step_of(kernel: str, *, naive: bool, graphs: bool) -> Callable[[], object]:
    """A call that takes a training step."""
    config = steps.configuration(kernel, *([NAIVE] if naive and kernel != "conventional" else []))
    network: nn.Module = build(config.network, in_channels=1, num_classes=20).to(DEVICE)
    called = GraphedNetwork(network) if graphs else None
    return steps.training_step(config, network, SIZE, DEVICE, called=called)


def measured(step: Callable[[], object], repeats: int) -> Record:
    """Time, memory, and what the card does of it."""
    (cost,) = steps.costs({"step": step}, repeats, DEVICE).values()
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as trace:
        step()
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
    events = [e for e in trace.key_averages() if "CUDA" in str(e.device_type)]
    kernels = [e for e in events if not e.key.startswith("Optimizer")]
    longest = sorted(kernels, key=lambda e: -e.self_device_time_total)[:25]
    spread = cost["time [ms]"]
    assert isinstance(spread, Spread)
    return {
        "milliseconds": list(spread),
        "extra_mebibytes": cost["extra memory [MiB]"],
        "busy_milliseconds": sum(e.self_device_time_total for e in kernels) / 1e3,
        "launches": sum(e.count for e in kernels),
        "kernels": [[e.key[:100], e.count, e.self_device_time_total / 1e3] for e in longest],
    }


def training_steps() -> Iterator[tuple[str, Record]]:
    """The steps of all networks and precisions, each as it was and as it is."""
    for kernel in steps.NETWORKS:
        for precision in PRECISIONS:
            repeats = 3 if precision == "float32" else 7
            take = partial(steps.in_precision, precision, DEVICE)
            ways: dict[str, Record] = {}
            with as_before():
                naive = step_of(kernel, naive=True, graphs=False)
                ways["plain"] = measured(partial(take, naive), repeats)
                before = step_of(kernel, naive=False, graphs=False)
                ways["before"] = measured(partial(take, before), repeats)
            del naive, before
            ways["launched"] = measured(
                partial(take, step_of(kernel, naive=False, graphs=False)), repeats
            )
            ways["now"] = measured(
                partial(take, step_of(kernel, naive=False, graphs=True)), repeats
            )
            torch.cuda.empty_cache()
            told = {way: round(row["milliseconds"][0], 1) for way, row in ways.items()}
            print(kernel, precision, told, flush=True)
            yield f"{kernel} {precision}", ways


def tune() -> Record:
    """The choices for one volume in all precisions, and for two in bf16."""
    tables = [
        *TuneBenchmark(device=DEVICE.type, size=SIZE).tables(),
        *TuneBenchmark(device=DEVICE.type, size=SIZE, batch=2, precisions=("bf16-mixed",)).tables(),
    ]
    for table in tables:
        print(table.markdown(), flush=True)
    return {"tables": [t.as_json() for t in tables], "graphs": choices_for(DEVICE).graphs}


def train(kernel: str, folder: Path) -> Record:
    """Sixty epochs at 128^3; its tables are copied."""
    run = Path(f"outputs/first_ten_minutes/{kernel}")
    command = [sys.executable, "-m", "src.train", *TRAINING.split(), f"kernel={kernel}"]
    started = time.time()
    done = subprocess.run([*command, f"hydra.run.dir={run}"], check=False)
    record = {"command": command[1:], "code": done.returncode, "seconds": time.time() - started}
    for name in ("metrics.csv", "subjects.csv", "run.json", "done.json", "example.png"):
        if (run / name).exists():
            (folder / kernel).mkdir(exist_ok=True)
            shutil.copy(run / name, folder / kernel / name)
    return record


def main(folder: Path, kernels: list[str]) -> None:
    """Measure part after part, and write after each."""
    record: Record = {}

    def note(name: str, part: Record) -> None:
        record[name] = part
        (folder / "first_ten_minutes.json").write_text(json.dumps(record, indent=1) + "\n")

    folder.mkdir(parents=True, exist_ok=True)
    note("environment", environment() if DEVICE.type == "cuda" else {})
    note("agreement", agreement() if DEVICE.type == "cuda" else {})
    print(record, flush=True)
    note("tune", tune())
    taken: Record = {}
    for name, ways in training_steps():
        taken[name] = ways
        note("steps", taken)
    for kernel in kernels:
        note(f"training {kernel}", train(kernel, folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
