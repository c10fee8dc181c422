"""The tables of modelled figures. Nothing in them is measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from gaborseg.benchmarks.modelled.steps import Layer, Variant, gabor_layers, layer_step
from gaborseg.benchmarks.modelled.times import (
    compiled_once,
    launch_seconds,
    modelled_seconds,
    operation_seconds,
)
from gaborseg.benchmarks.modelled.trace import PRECISIONS, Trace
from gaborseg.benchmarks.report import Cell, Table
from gaborseg.gpu import Card, Launch, Plan, Way, ffma_share

_GIGA, _TERA, _KIBIBYTE = 1e9, 1e12, 1024
_MILLI, _MICRO = 1e3, 1e6
_CONVOLUTIONS: dict[str, tuple[int, Way]] = {
    "3³": (3, "direct"),
    "7³, directly": (7, "direct"),
    "7³, by spectra": (7, "spectral"),
}

_PARTS = {
    "convolution": "convolutions",
    "mm": "matrix products",
    "_fft": "Fourier transforms",
    "cat": "copies",
    "clone": "copies",
    "copy": "copies",
    "pad": "copies",
}
"""By a piece of an operation's name, what it is part of."""


def cards_table(cards: Mapping[str, Card]) -> Table:
    """What the data sheets say, from which all else follows."""
    rows: list[dict[str, Cell]] = [
        {
            "card": name,
            "compute capability": f"{card.capability // 10}.{card.capability % 10}",
            "processors": card.processors,
            "clock [GHz]": card.clock,
            "float32 [TFLOP/s]": card.float32,
            "tf32 [TFLOP/s]": card.tf32,
            "bf16 [TFLOP/s]": card.bf16,
            "bandwidth [GB/s]": card.bandwidth,
            "memory [GB]": card.memory,
        }
        for name, card in cards.items()
    ]
    return Table("Cards, by their data sheets", rows)


def kernels_table(plans: Sequence[Plan], cards: Mapping[str, Card]) -> Table:
    """Every Triton kernel as compiled for the last card, and its modelled time on all."""
    *_, last = cards
    rows = [_kernel_row(plan, cards, cards[last]) for plan in plans]
    return Table(f"Modelled: Triton kernels; code as compiled for {last}", rows)


def _kernel_row(plan: Plan, cards: Mapping[str, Card], last: Card) -> dict[str, Cell]:
    launch = plan.launch(last.capability)
    kernel = compiled_once(launch, last.capability)
    row: dict[str, Cell] = {"kernel": plan.name, "programs": launch.programs}
    if kernel:
        loop, processor = kernel.code.inner_loop(), last.processor
        resident = processor.resident_programs(kernel.warps, kernel.registers, kernel.shared)
        row |= {
            "warps": kernel.warps,
            "registers": kernel.registers,
            "shared [KiB]": kernel.shared / _KIBIBYTE,
            "occupancy": resident * kernel.warps / processor.warps,
            "instructions of the inner loop": len(loop) or None,
            "FFMA": ffma_share(loop) if loop else None,
        }
    times = {name: launch_seconds(plan.launch(c.capability), c) for name, c in cards.items()}
    return row | {f"{name} [µs]": _scaled(time, _MICRO) for name, time in times.items()}


def layers_table(size: int, name: str, card: Card) -> Table:
    """The spatial layers of each level: conventional, Gabor kernels directly and by spectra."""
    layers = gabor_layers(size)
    levels = sorted({layer.level for layer in layers})
    rows = [
        _level_row(str(level), convolution, part, card)
        for level in levels
        for part in [{layer: n for layer, n in layers.items() if layer.level == level}]
        for convolution in _CONVOLUTIONS
    ]
    rows += [_level_row("all", convolution, layers, card) for convolution in _CONVOLUTIONS]
    return Table(f"Modelled: spatial convolutions both ways at {size}³, batch 1, {name}", rows)


def _level_row(
    level: str, convolution: str, layers: Mapping[Layer, int], card: Card
) -> dict[str, Cell]:
    kernel_size, way = _CONVOLUTIONS[convolution]
    traces = {
        precision: [
            (count, layer_step(layer, kernel_size, precision, way))
            for layer, count in layers.items()
        ]
        for precision in PRECISIONS
    }
    single = traces["float32"]
    return {
        "level": level,
        "kernels": convolution,
        "layers": sum(layers.values()),
        "pairs": sum(layer.inputs * layer.outputs * n for layer, n in layers.items()),
        "products [TFLOP]": sum(n * trace.flop for n, trace in single) / _TERA or None,
        "traffic [GB]": sum(n * trace.traffic for n, trace in single) / _GIGA,
        **{
            f"{precision} [ms]": _scaled(_total(counted, card, precision), _MILLI)
            for precision, counted in traces.items()
        },
    }


def _total(counted: Sequence[tuple[int, Trace]], card: Card, precision: str) -> float | None:
    """The time of traces, each as often as it is counted."""
    times = [(count, modelled_seconds(trace, card, precision)) for count, trace in counted]
    known = [count * time for count, time in times if time is not None]
    return sum(known) if len(known) == len(times) else None


def steps_table(steps: Mapping[Variant, Trace], cards: Mapping[str, Card], at: str) -> Table:
    """Every training step: its arithmetic, traffic and launches, and its modelled time."""
    rows: list[dict[str, Cell]] = [
        {
            **variant.columns,
            "products [TFLOP]": trace.flop / _TERA,
            "traffic [GB]": trace.traffic / _GIGA,
            "operations": len(trace.operations) + len(trace.launches),
            **{
                f"{name} [ms]": _scaled(modelled_seconds(trace, card, variant.precision), _MILLI)
                for name, card in cards.items()
            },
        }
        for variant, trace in steps.items()
    ]
    return Table(f"Modelled: a training step {at}", rows)


def parts_table(steps: Mapping[Variant, Trace], name: str, card: Card, at: str) -> Table:
    """What the steps in bfloat16 consist of; in float32 on a card without it."""
    precision = "bf16-mixed" if card.bf16 else "float32"
    rows = [
        {**variant.columns, **row}
        for variant, trace in steps.items()
        if variant.precision == precision
        for row in _part_rows(trace, card, precision)
    ]
    return Table(f"Modelled: parts of a training step {at}, {name}", rows)


def _part_rows(trace: Trace, card: Card, precision: str) -> list[dict[str, Cell]]:
    """The parts of a step, that which takes longest first."""
    sums: dict[str, list[float]] = defaultdict(lambda: [0, 0, 0, 0])
    timed = [
        *(
            (_part_of(o.name), o.flop, o.traffic, operation_seconds(o, card, precision))
            for o in trace.operations
        ),
        *((_kernels_of(k), 0, k.traffic, launch_seconds(k, card) or 0) for k in trace.launches),
    ]
    for part, *figures in timed:
        sums[part] = [a + b for a, b in zip(sums[part], (1, *figures), strict=True)]
    return [
        {
            "part": part,
            "operations": int(count),
            "products [TFLOP]": flop / _TERA or None,
            "traffic [GB]": traffic / _GIGA,
            "time [ms]": seconds * _MILLI,
        }
        for part, (count, flop, traffic, seconds) in sorted(
            sums.items(), key=lambda item: -item[1][3]
        )
    ]


def _part_of(name: str) -> str:
    """What an operation of torch is part of."""
    return next((part for piece, part in _PARTS.items() if piece in name), "other operations")


def _kernels_of(launch: Launch) -> str:
    """What a Triton kernel is part of: its module, without the direction."""
    module = launch.kernel.__module__.rpartition(".")[2]
    return f"Triton: {module.removesuffix('_forward').removesuffix('_backward')}"


def _scaled(seconds: float | None, factor: float) -> float | None:
    return None if seconds is None else seconds * factor
