"""The work of `benchmark`: a subject, its options, and the record of what was measured on what."""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, cast

import torch
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gaborseg.benchmarks.data import DataBenchmark
from gaborseg.benchmarks.exactness import ExactnessBenchmark
from gaborseg.benchmarks.gpu import GpuBenchmark
from gaborseg.benchmarks.layer import LayerBenchmark
from gaborseg.benchmarks.loss import LossBenchmark
from gaborseg.benchmarks.metrics import MetricsBenchmark
from gaborseg.benchmarks.modelled import GpuModelBenchmark
from gaborseg.benchmarks.network import NetworkBenchmark
from gaborseg.benchmarks.options import Benchmark
from gaborseg.benchmarks.report import Table
from gaborseg.benchmarks.tune import TuneBenchmark
from gaborseg.interface import UserError
from gaborseg.layers import native_available
from gaborseg.machine import (
    available_processors,
    keep_freed_memory,
    processor_name,
    software_versions,
    write_text,
)

SUBJECTS: dict[str, type[Benchmark]] = {
    "layer": LayerBenchmark,
    "network": NetworkBenchmark,
    "loss": LossBenchmark,
    "metrics": MetricsBenchmark,
    "data": DataBenchmark,
    "exactness": ExactnessBenchmark,
    "gpu": GpuBenchmark,
    "gpu_model": GpuModelBenchmark,
    "tune": TuneBenchmark,
}
OUTPUTS = Path("outputs/benchmarks")


def benchmark(arguments: Sequence[str]) -> None:
    """Measure a subject, print its tables and write them down."""
    subject, chosen = parse(arguments)
    path = OUTPUTS / f"{'-'.join([subject, *sorted(arguments[1:])])}.json"
    record = {"command": list(arguments), "options": asdict(chosen), **prepare(chosen)}
    print(summary(record), flush=True)
    tables = chosen.tables()
    for table in tables:
        print(f"\n{table.markdown()}")
    print(f"\nWritten to {write(path, record, tables)}")


def parse(arguments: Sequence[str]) -> tuple[str, Benchmark]:
    """The subject and its benchmark with the options given as ``key=value``.

    Raises:
        UserError: A value is not of its option's type, or out of range.
    """
    subject, *options = arguments
    try:
        return subject, SUBJECTS[subject](**values(SUBJECTS[subject], options))
    except OmegaConfBaseException as error:
        raise UserError(f"{error.full_key}: {str(error).splitlines()[0]}") from error
    except ValueError as error:
        raise UserError(str(error)) from error


def values(kind: type[Benchmark], options: Sequence[str]) -> dict[str, Any]:
    """Options as values of the types that the benchmark declares; ``levels=[2,3]`` is a list."""
    schema = OmegaConf.structured(kind)
    OmegaConf.set_readonly(schema, False)
    merged = cast(DictConfig, OmegaConf.merge(schema, OmegaConf.from_dotlist([*options])))
    return {
        str(key): tuple(value) if isinstance(value, ListConfig) else value
        for key, value in merged.items()
    }


def usage() -> list[str]:
    """The options of every subject with their defaults, a line each."""
    return [
        " ".join([f"{subject:10}", *(f"{field.name}={field.default}" for field in fields(kind))])
        for subject, kind in SUBJECTS.items()
    ]


def prepare(chosen: Benchmark) -> dict[str, Any]:
    """Set allocator, threads and seed, and say on what and with what is measured."""
    kept = keep_freed_memory()
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "allocator": "keeps freed memory" if kept else "as the system sets it",
        "machine": {
            "processor": f"{processor_name()}, {torch.backends.cpu.get_cpu_capability()}",
            "processors": available_processors(),
            "threads": torch.get_num_threads(),
            "load": os.getloadavg(),
            "native_layer": native_available(),
        },
        "versions": software_versions(),
    }


def summary(record: dict[str, Any]) -> str:
    """What the tables were measured on, in a line."""
    machine, versions = record["machine"], record["versions"]
    commit, _, changed = versions["git_commit"].partition("-")
    return (
        f"{machine['processor']}, {machine['threads']} of {machine['processors']} processors, "
        f"torch {versions['torch']}, commit {commit[:7]}{' and changes' if changed else ''}; "
        f"allocator {record['allocator']}; load {machine['load'][0]:.1f}"
    )


def write(path: Path, record: dict[str, Any], tables: Sequence[Table]) -> Path:
    """Write everything as JSON and return the path."""
    record = {**record, "tables": [table.as_json() for table in tables]}
    write_text(path, json.dumps(record, indent=2) + "\n")
    return path
