"""Loading and augmenting training samples: how many a second, and from which files."""

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gaborseg.benchmarks.options import Benchmark, at_least
from gaborseg.benchmarks.report import Cell, Table
from gaborseg.benchmarks.timing import Spread, interleave
from gaborseg.data import AtlasCohort, EpochLoader, RandomAffine, SegmentationData, Source


@dataclass(frozen=True)
class DataBenchmark(Benchmark):
    """Training samples of the embedded cohort, with the paper's augmentation.

    Attributes:
        size: Side of the volumes, in voxels: 48, 64, 96 or 128.
        subjects: Size of the cohort, which is built first if need be.
        workers: Loading processes to try.
        step: Duration of the training step to keep fed, in milliseconds.

    Raises:
        ValueError: An option is out of range.
    """

    size: int = 128
    subjects: int = 43
    workers: tuple[int, ...] = (0, 1, 2)
    step: float = 30.0

    def __post_init__(self) -> None:
        super().__post_init__()
        AtlasCohort(self.size, self.subjects)
        at_least("step", self.step, 1)
        if not self.workers or min(self.workers) < 0:
            raise ValueError(f"workers must be numbers from 0, got {list(self.workers)}")

    def tables(self) -> list[Table]:
        """Time whole epochs after the first one, and count what they open."""
        source = AtlasCohort(self.size, self.subjects)
        rows = loading_rows(source, self.workers, self.repeats, self.step)
        return [
            Table(f"Training samples of {self.size}³, augmentation=paper", rows),
            Table("Files opened", opening_rows(source)),
        ]


def _training_data(source: Source, workers: int, augment_on: str = "cpu") -> SegmentationData:
    """The data of a source, prepared, with the paper's augmentation."""
    data = SegmentationData(source, RandomAffine(), num_workers=workers, augment_on=augment_on)
    data.prepare()
    return data


class _Epochs:
    """A call that loads the next epoch of training samples.

    Args:
        loader: The loader of the training samples.
    """

    def __init__(self, loader: EpochLoader) -> None:
        self.loader = loader
        self.epoch = 0

    def __call__(self) -> None:
        self.loader.sampler.set_epoch(self.epoch)  # type: ignore[attr-defined]
        self.epoch += 1
        for _ in self.loader:
            pass


def loading_rows(
    source: Source, workers: tuple[int, ...], repeats: int, step: float
) -> list[dict[str, Cell]]:
    """Samples per second with each number of workers, in the epochs after the first one.

    With ``augment_on="gpu"`` they are drawn, but left to the GPU to be moved.
    """
    loaders = {
        (where, count): _training_data(source, count, where).loader("train")
        for where in ("cpu", "gpu")
        for count in workers
    }
    epochs = {f"{where} {count}": _Epochs(loader) for (where, count), loader in loaders.items()}
    timings = interleave(epochs, repeats)
    rows: list[dict[str, Cell]] = []
    for (where, count), timing in zip(loaders, timings.values(), strict=True):
        rate = Spread.of([len(loaders[where, count]) / seconds for seconds in timing.seconds])
        per_worker = rate.scaled(1 / max(count, 1))
        needed = math.ceil(1e3 / step / per_worker.median)
        rows.append(
            {
                "augment_on": where,
                "workers": count,
                "samples / s": rate,
                "samples / s and worker": per_worker if count else None,
                f"workers that feed a step of {step:g} ms": needed if count else None,
            }
        )
    return rows


def opening_rows(source: Source) -> list[dict[str, Cell]]:
    """How many NIfTI files and arrays are opened, from preparing to the second epoch."""
    data = _training_data(source, workers=0)
    epoch = _Epochs(data.loader("train"))
    stages: dict[str, Callable[[], None]] = {
        "preparing what is prepared": data.prepare,
        "first epoch": epoch,
        "second epoch": epoch,
    }
    rows: list[dict[str, Cell]] = []
    for name, stage in stages.items():
        with opened_files() as paths:
            stage()
        nifti = sum(path.endswith((".nii", ".nii.gz")) for path in paths)
        arrays = sum(path.endswith(".npy") for path in paths)
        rows.append({"stage": name, "NIfTI files": nifti, "memory-mapped arrays": arrays})
    return rows


@contextmanager
def opened_files() -> Iterator[list[str]]:
    """Yield a list that collects the path of every file that this process opens meanwhile."""
    paths: list[str] = []
    listening = True

    def listen(event: str, arguments: tuple[object, ...]) -> None:
        if listening and event == "open":
            paths.append(str(arguments[0]))

    sys.addaudithook(listen)  # stays for the life of the process: nothing can take it away
    try:
        yield paths
    finally:
        listening = False
