"""What networks and our Triton kernels would take on several GPUs: nothing is measured."""

from __future__ import annotations

from dataclasses import dataclass

from gaborseg.benchmarks.modelled.memory import memory_row
from gaborseg.benchmarks.modelled.steps import VARIANTS, step_of
from gaborseg.benchmarks.modelled.tables import (
    cards_table,
    kernels_table,
    layers_table,
    parts_table,
    steps_table,
)
from gaborseg.benchmarks.options import Benchmark, check_size
from gaborseg.benchmarks.report import Table
from gaborseg.gpu import CARDS, plans, triton_installed


@dataclass(frozen=True)
class GpuModelBenchmark(Benchmark):
    """Kernels, layers, training steps and memory on GPUs, modelled without one.

    Attributes:
        size: Voxels a side of the volumes, a multiple of 16.
        cards: Names of cards, all if none is given; details are of the last one.

    Raises:
        ValueError: An option is out of range or of no use, or Triton is not installed.
    """

    size: int = 128
    cards: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size(self.size)
        unknown = [name for name in self.cards if name not in CARDS]
        if unknown:
            raise ValueError(f"cards must be of {list(CARDS)}, got {unknown}")
        if self.repeats != Benchmark.repeats:
            raise ValueError(f"repeats is of no use, as nothing is timed, got {self.repeats}")
        if not triton_installed():
            raise ValueError(
                "gpu_model compiles the GPU kernels and needs Triton: pip install triton"
            )

    def tables(self) -> list[Table]:
        """Model, and return the tables of kernels, layers, steps, their parts, and memory."""
        cards = {name: CARDS[name] for name in self.cards or CARDS}
        *_, last = cards
        steps = {variant: step_of(variant, self.size) for variant in VARIANTS}
        at = f"at {self.size}³, batch 1"
        memory = [memory_row(variant, self.size) for variant in steps if variant.counts_apart]
        return [
            cards_table(cards),
            kernels_table(plans(), cards),
            *(layers_table(self.size, name, card) for name, card in cards.items()),
            steps_table(steps, cards, at),
            parts_table(steps, last, cards[last], at),
            Table(f"Modelled: memory of a training step {at}, and the largest volumes", memory),
        ]
