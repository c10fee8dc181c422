"""Time, memory and errors of layers, networks, losses, metrics and data, against other ways.

    python -m src.benchmark layer
    python -m src.benchmark network size=64 threads=1 repeats=7

Alternatives take turns in one process; the tables hold medians with quartiles, and ratios taken
round by round. They are Markdown; the same numbers go to a JSON file under ``outputs/benchmarks``.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, cast

import torch
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.allocator import keep_freed_memory
from src.benchmarks import SUBJECTS, Benchmark, Table
from src.command import UserError, run_command
from src.layers.spectral import native_available
from src.processors import available_processors
from src.runs import software_versions
from src.training.cost import processor_name

OUTPUTS = Path("outputs/benchmarks")


def main() -> None:
    """Measure a subject, print its tables and write them down."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(f"{__doc__}\n{usage()}")
        return
    subject, benchmark = parse(sys.argv[1:])
    path = OUTPUTS / f"{'-'.join([subject, *sorted(sys.argv[2:])])}.json"
    record = {"command": sys.argv[1:], "options": asdict(benchmark), **prepare(benchmark)}
    print(summary(record), flush=True)
    tables = benchmark.tables()
    for table in tables:
        print(f"\n{table.markdown()}")
    print(f"\nWritten to {write(path, record, tables)}")


def parse(arguments: Sequence[str]) -> tuple[str, Benchmark]:
    """The subject and its benchmark with the options given as ``key=value``.

    Raises:
        UserError: There is no such subject or option, or a value is out of range.
    """
    subject, *options = arguments or [""]
    if subject not in SUBJECTS:
        raise UserError(f"the subject must be {' | '.join(SUBJECTS)}, got {subject!r}")
    known = [field.name for field in fields(SUBJECTS[subject])]
    for option in options:
        key, equals, _ = option.partition("=")
        if key not in known or not equals:
            raise UserError(f"options of {subject} are {'= '.join(known)}=, got {option!r}")
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


def usage() -> str:
    """The options of every subject with their defaults."""
    lines = (
        "  ".join([f"{subject:8}", *(f"{key}={value}" for key, value in asdict(kind()).items())])
        for subject, kind in SUBJECTS.items()
    )
    return "\n".join(["Subjects and their options:", *lines])


def prepare(benchmark: Benchmark) -> dict[str, Any]:
    """Set allocator, threads and seed, and say on what and with what is measured."""
    kept = keep_freed_memory()
    if benchmark.threads:
        torch.set_num_threads(benchmark.threads)
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
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {**record, "tables": [table.as_json() for table in tables]}
    path.write_text(json.dumps(record, indent=2) + "\n")
    return path


if __name__ == "__main__":
    run_command(main)
