"""What all benchmarks can be told."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from gaborseg.benchmarks.report import Table


@dataclass(frozen=True)
class Benchmark(ABC):
    """One subject: its fields are the options of the command, its tables the result.

    Attributes:
        repeats: Timed rounds, after one to warm up.
        threads: Threads that compute; all processors if not given.

    Raises:
        ValueError: An option is out of range.
    """

    repeats: int = 7
    threads: int | None = None

    def __post_init__(self) -> None:
        at_least("repeats", self.repeats, 1)
        if self.threads is not None:
            at_least("threads", self.threads, 1)

    @abstractmethod
    def tables(self) -> list[Table]:
        """Measure, and return the tables."""


def at_least(name: str, value: float, least: int) -> None:
    """Raise a ValueError unless an option is large enough."""
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")


def check_size(size: int) -> None:
    """Raise a ValueError unless a volume can be halved four times."""
    if size < 16 or size % 16:
        raise ValueError(f"size must be a multiple of 16, got {size}")
