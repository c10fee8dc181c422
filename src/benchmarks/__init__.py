"""What the package costs in time and memory, measured against other ways to the same numbers."""

from src.benchmarks.data import DataBenchmark
from src.benchmarks.exactness import ExactnessBenchmark
from src.benchmarks.layer import LayerBenchmark
from src.benchmarks.loss import LossBenchmark
from src.benchmarks.metrics import MetricsBenchmark
from src.benchmarks.network import NetworkBenchmark
from src.benchmarks.options import Benchmark
from src.benchmarks.report import Table

__all__ = ["SUBJECTS", "Benchmark", "Table"]

SUBJECTS: dict[str, type[Benchmark]] = {
    "layer": LayerBenchmark,
    "network": NetworkBenchmark,
    "loss": LossBenchmark,
    "metrics": MetricsBenchmark,
    "data": DataBenchmark,
    "exactness": ExactnessBenchmark,
}
"""What `python -m src.benchmark` can measure."""
