"""Times and memory on GPUs, modelled: what a step does is traced, our kernels are compiled."""

from gaborseg.benchmarks.modelled.benchmark import GpuModelBenchmark

__all__ = ["GpuModelBenchmark"]
