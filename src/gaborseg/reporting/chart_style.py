"""Colours, marks and the look of all charts, for figures and page alike; safe for colour-blind."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl

from gaborseg.study import KERNELS, LOSSES, Configuration, rank_of, readable

LIGHT = (  # Okabe and Ito's, the yellow one left out
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#b14d8e",
    "#5b5b5b",
    "#56b4e9",
    "#e69f00",
    "#8c510a",
)
_MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
_KERNEL_MARKS = {"conventional": "s", "gabor": "o", "mixed": "D"}
_OTHER_KERNEL_MARKS = ("^", "v", "P", "X", "*")
_LOOK: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "gaborseg",
    "svg.fonttype": "path",
    "figure.dpi": 100,
    "savefig.dpi": 200,
}


@dataclass(frozen=True)
class _Style:
    """How a configuration is drawn.

    Attributes:
        color: Position in the palettes: its loss and variant.
        mark: Of its loss and variant, where a panel shows one kernel.
        kernel_mark: Of its kernel, where all are in one panel.
        line: Label of loss and variant.
    """

    color: int
    mark: str
    kernel_mark: str
    line: str


def styles(configurations: Sequence[Configuration]) -> dict[str, _Style]:
    """The style of each configuration, by id; one of our losses has one colour in every report.

    A loss of the user's gets one that is left, the last first. Where all configurations share loss
    and variant, colours tell their kernels apart.
    """
    losses, kernels = list(LOSSES), list(_KERNEL_MARKS)
    others = sorted({c.kernel for c in configurations} - set(kernels))
    marks = _KERNEL_MARKS | dict(zip(others, _OTHER_KERNEL_MARKS * len(others), strict=False))
    lines = sorted({(rank_of(c.loss, LOSSES), c.loss, c.variant) for c in configurations})
    colors: dict[tuple[str, str], int] = {}
    for _, loss, variant in lines:
        own = [losses.index(loss)] if loss in losses else reversed(range(len(LIGHT)))
        free = [i for i in (*own, *range(len(LIGHT))) if i not in colors.values()]
        colors[loss, variant] = free[0] if free else len(colors) % len(LIGHT)
    names = kernels_of(configurations)
    alike = len(lines) == 1 < len(names)
    return {
        c.id: _Style(
            color=names.index(c.kernel) % len(LIGHT) if alike else colors[c.loss, c.variant],
            mark=_MARKS[colors[c.loss, c.variant]],
            kernel_mark=marks[c.kernel],
            line=_line_label(c),
        )
        for c in configurations
    }


def _line_label(configuration: Configuration) -> str:
    """Return loss and variant of a configuration, for the reader."""
    parts = (readable(configuration.loss, LOSSES), configuration.variant)
    return " · ".join(part for part in parts if part)


def kernels_of(configurations: Sequence[Configuration]) -> list[str]:
    """Return the kernels of configurations in the order of the paper."""
    return sorted({c.kernel for c in configurations}, key=lambda kernel: rank_of(kernel, KERNELS))


@contextmanager
def chart_look() -> Iterator[None]:
    """Draw and save figures with the look of the charts."""
    with mpl.rc_context(_LOOK):
        yield
