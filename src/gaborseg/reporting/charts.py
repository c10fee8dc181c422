"""The charts of a report as matplotlib figures, for print; the page draws its own from numbers."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogFormatterSciNotation, NullLocator

from gaborseg.networks import kinds_in
from gaborseg.pictures import literal
from gaborseg.reporting.chart_style import LIGHT, kernels_of, styles
from gaborseg.study import AVERAGE, KERNELS, METRICS, SHOWN, Results, readable, readable_rate, std

_CURVE = "val/dice"
SCORES = {
    "structures": ("dice",),
    "surface": ("hd95", "nsd"),
    "volume_error": ("volume_error", "absolute_volume_error"),
}
_HATCHES = ("", "//", "..", "xx", "--")


def all_charts(results: Results) -> Iterator[tuple[str, Figure]]:
    """Yield name and figure of every chart that the runs have numbers for."""
    makers: dict[str, Callable[[Results], Figure | None]] = {
        **{name: partial(_structures_chart, metrics=metrics) for name, metrics in SCORES.items()},
        "learning_rate": _learning_rate_chart,
        "differences": _differences_chart,
        "training_curves": _training_chart,
        "parameters": _parameters_chart,
        "cost": _cost_chart,
    }
    for name, maker in makers.items():
        figure = maker(results)
        if figure is not None:
            yield name, figure


def _learning_rate_chart(results: Results) -> Figure | None:
    """Return Fig. 3: mean test Dice against learning rate, a panel a kernel, a line a loss.

    The legend tells how many runs are behind each point of a line.
    """
    drawn = [c for c in results.study.configurations if len(results.curves[c.id].rates) > 1]
    if not drawn:
        return None
    figure, panels = _panels(kernels_of(drawn), height=3.8)
    look = styles(results.study.configurations)
    for configuration in drawn:
        curve, style = results.curves[configuration.id], look[configuration.id]
        spread = np.nan_to_num(std(curve.values.T))
        panels[configuration.kernel].errorbar(
            curve.rates,
            100 * curve.mean,
            yerr=100 * spread,
            color=LIGHT[style.color],
            marker=style.mark,
            markersize=5,
            capsize=2.5,
            linewidth=1.4,
            label=f"{literal(style.line)} ({_range(curve.runs)})",
        )
    for axes in panels.values():
        _rate_axis(axes, results.study.rates)
        axes.legend(
            title="(runs behind each point)",
            title_fontsize=7.5,
            fontsize=8,
            ncols=2,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.18),
        )
    next(iter(panels.values())).set_ylabel("test Dice [%]")
    return figure


def _structures_chart(results: Results, metrics: Sequence[str]) -> Figure | None:
    """Return scores per structure, a panel a metric: a row a structure, a mark a configuration."""
    drawn = [metric for metric in metrics if metric in results.metrics]
    if not drawn:
        return None
    names = [*results.study.structures, AVERAGE]
    size = (2.2 + (5.0 if len(drawn) == 1 else 3.6) * len(drawn), 1.2 + 0.27 * len(names))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(drawn), sharey=True, squeeze=False)[0]
    for axes, metric in zip(panels, drawn, strict=True):
        _mark_structures(axes, results, metric)
        axes.axhline(len(names) - 1.5, color="#999999", linewidth=0.8)
    panels[0].set_yticks(range(len(names)), [literal(readable(name)) for name in names])
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    handles, labels = panels[0].get_legend_handles_labels()
    columns = min(3, len(labels))
    figure.legend(handles, labels, loc="outside upper center", ncols=columns, fontsize=7.5)
    return figure


def _mark_structures(axes: Axes, results: Results, metric: str) -> None:
    kind, look = METRICS[metric], styles(results.study.configurations)
    offsets = np.linspace(-0.3, 0.3, len(results.shown)) if len(results.shown) > 1 else [0.0]
    for offset, configuration in zip(offsets, results.shown, strict=True):
        summary, style = results.summaries[metric][configuration.id], look[configuration.id]
        axes.errorbar(
            kind.factor * summary.mean,
            np.arange(len(summary.mean)) + offset,
            xerr=kind.factor * np.nan_to_num(summary.std),
            color=LIGHT[style.color],
            marker=style.kernel_mark,
            markersize=3.6,
            linestyle="none",
            elinewidth=0.9,
            label=literal(configuration.label),
        )
    axes.set_xlabel(f"test {kind.title} [{kind.unit}]")


def _differences_chart(results: Results) -> Figure | None:
    """Return the matrix of differences in mean Dice, row minus column, with what is shown."""
    rows = [row for row in results.comparisons.get("dice", []) if row.structure == AVERAGE]
    if not rows:
        return None
    ids = [c.id for c in results.shown]
    values = np.full((len(ids), len(ids)), np.nan)
    figure = Figure(figsize=(2.6 + 0.62 * len(ids), 1.8 + 0.5 * len(ids)), layout="constrained")
    axes = figure.subplots()
    for row in rows:
        first, second = ids.index(row.first), ids.index(row.second)
        values[first, second], values[second, first] = 100 * row.difference, -100 * row.difference
    limit = np.nanmax(np.abs(values)) or 1
    image = axes.imshow(values, cmap="PuOr", vmin=-limit, vmax=limit)
    for row in rows:
        first, second = ids.index(row.first), ids.index(row.second)
        for (y, x), sign in (((first, second), 1), ((second, first), -1)):
            text = f"{100 * sign * row.difference:+.1f}" + ("*" if row.verdict == SHOWN else "")
            color = "w" if abs(row.difference * 100) > 0.6 * limit else "k"
            axes.text(x, y, text, ha="center", va="center", fontsize=7.5, color=color)
    labels = [literal(c.label) for c in results.shown]
    axes.set_xticks(range(len(ids)), labels, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(ids)), labels)
    axes.grid(visible=False)
    figure.colorbar(image, label="row minus column [Dice points]", shrink=0.8)
    axes.set_title("Differences in mean test Dice; * shown over subjects and trainings", fontsize=9)
    return figure


def _training_chart(results: Results) -> Figure | None:
    """Return validation Dice by epoch at the chosen rates, with the best epoch of every run."""
    runs = {c.id: results.runs_of(c) for c in results.shown}
    drawn = [c for c in results.shown if any(_CURVE in run.curves for run in runs[c.id])]
    if not drawn:
        return None
    figure, panels = _panels(kernels_of(drawn))
    look = styles(results.study.configurations)
    for configuration in drawn:
        style = look[configuration.id]
        label: str | None = literal(style.line)
        for run in runs[configuration.id]:
            best = run.best_row
            if best is None:
                continue
            epoch, dice = run.curves["epoch"].to_numpy() + 1, 100 * run.curves[_CURVE].to_numpy()
            axes, color = panels[configuration.kernel], LIGHT[style.color]
            axes.plot(epoch, dice, color=color, linewidth=0.9, alpha=0.75, label=label)
            axes.plot(epoch[best], dice[best], marker=style.mark, color=color, markersize=5.5)
            label = None
    for axes in panels.values():
        axes.set_xlabel("epoch")
        axes.legend(fontsize=8, loc="lower right")
    next(iter(panels.values())).set_ylabel("validation Dice [%]")
    return figure


def _parameters_chart(results: Results) -> Figure | None:
    """Return trained parameters by kernel and level, stacked by kind."""
    bars = list(_bars(results))
    if not bars:
        return None
    kinds = kinds_in(counts for _, counts in bars)
    figure = Figure(figsize=(7.2, 0.9 + 0.26 * len(bars)), layout="constrained")
    axes = figure.subplots()
    start = np.zeros(len(bars))
    for kind, color, hatch in zip(kinds, cycle(LIGHT), cycle(_HATCHES), strict=False):
        width = np.array([counts.get(kind, 0) / 1e6 for _, counts in bars])
        rows = axes.barh(range(len(bars)), width, left=start, color=color, label=literal(kind))
        for row in rows:
            row.set(hatch=hatch, edgecolor="w")
        start += width
    for position, total in enumerate(start):
        axes.text(total, position, f" {total:.2f} M", va="center", fontsize=8)
    axes.set_yticks(range(len(bars)), [literal(label) for label, _ in bars])
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.set_xlim(0, 1.12 * start.max())
    axes.set_xlabel("trained parameters [millions]")
    figure.legend(loc="outside upper center", ncols=len(kinds), fontsize=8)
    return figure


def _bars(results: Results) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield label and counts by kind, level by level where levels are known, once a kernel."""
    seen = set()
    for c in results.study.configurations:
        run = results.study.runs[next(iter(c.runs.values()))[0]]
        levels = results.parameters.get(c.id)
        key = (c.kernel, c.parameters, repr(levels))
        if c.parameters and key not in seen:
            seen.add(key)
            name = readable(c.kernel, KERNELS)
            whole = {k: v for k, v in run.parameters.items() if k != "total"}
            parts = {f"{name}, {level}": dict(v) for level, v in (levels or {}).items()}
            yield from (parts or {name: whole}).items()


def _cost_chart(results: Results) -> Figure | None:
    """Return mean test Dice against parameters, and against time a step if all is of one device."""
    points = {
        "trained parameters": [(c, float(c.parameters or math.nan)) for c in results.shown],
        f"time a step [s], {results.timed_on}": [
            (c, results.seconds_per_step(c)) for c in results.shown
        ],
    }
    panels = {k: [p for p in v if not math.isnan(p[1])] for k, v in points.items()}
    panels = {k: v for k, v in panels.items() if v}
    if not panels:
        return None
    figure = Figure(figsize=(3.6 * len(panels), 3.2), layout="constrained")
    look = styles(results.study.configurations)
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, found) in zip(grid, panels.items(), strict=True):
        for configuration, value in found:
            summary, style = results.summaries["dice"][configuration.id], look[configuration.id]
            axes.errorbar(
                value,
                100 * summary.mean[-1],
                yerr=100 * np.nan_to_num(summary.std[-1]),
                color=LIGHT[style.color],
                marker=style.kernel_mark,
                capsize=2,
                linestyle="none",
                label=literal(configuration.label),
            )
        axes.set_xscale("log")
        _space_labels(axes, [value for _, value in found])
        axes.set_xlabel(literal(title))
        axes.set_ylabel("test Dice [%]")
    marks = [axes.get_legend_handles_labels() for axes in grid]
    handles, labels = max(marks, key=lambda found: len(found[1]))
    figure.legend(handles, labels, loc="outside upper center", ncols=3, fontsize=7)
    return figure


def _space_labels(axes: Axes, values: Sequence[float]) -> None:
    """Label nothing but 2 and 5 between the powers of ten where values span more than one."""
    if max(values) > 10 * min(values):
        words = LogFormatterSciNotation(minor_thresholds=(math.inf, math.inf))
        axes.xaxis.set_minor_formatter(
            FuncFormatter(lambda value, _: words(value) if f"{value:e}"[0] in "25" else "")
        )


def _panels(kernels: Sequence[str], height: float = 3.1) -> tuple[Figure, dict[str, Axes]]:
    """Return a figure with a panel a kernel, side by side, with one scale of Dice."""
    figure = Figure(figsize=(max(4.2, 3.1 * len(kernels)), height), layout="constrained")
    axes = figure.subplots(1, len(kernels), sharey=True, squeeze=False)[0]
    for axis, kernel in zip(axes, kernels, strict=True):
        axis.set_title(literal(readable(kernel, KERNELS)))
    return figure, dict(zip(kernels, axes, strict=True))


def _range(counts: Sequence[int]) -> str:
    """Return the lowest and the highest of some counts, or the one that they all are.

    >>> _range([3, 1, 2]), _range([5, 5])
    ('1-3', '5')
    """
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low}-{high}"


def _rate_axis(axes: Axes, rates: Sequence[float]) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(list(rates)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([_rate_label(rate) for rate in rates])
    axes.set_xlabel("learning rate")


def _rate_label(rate: float) -> str:
    text = readable_rate(rate)
    return f"$10^{{{text.removeprefix('10^')}}}$" if text.startswith("10^") else text
