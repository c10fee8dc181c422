"""What the package costs in time and memory, measured against other ways to the same numbers."""

from gaborseg.benchmarks.command import benchmark

__all__ = ["benchmark"]
