"""Pictures of the kernels of a network: kernels and spectra, distributions, layer by layer."""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from gaborseg.pictures.kernels import NYQUIST, Array, GaborKernels, KernelLayer
from gaborseg.pictures.slices import literal

SHOWN = 12
"""Kernels in the picture of a layer."""
_SPECTRUM_SIDE = 32
"""Samples of a spectrum along an axis; the kernel is padded with zeros to as many voxels."""
_AXES = "xyz"
"""The paper's names of the axes D, H, W."""
_TIMES = {"start": "#5b5b5b", "trained": "#d55e00"}
_SHARES = {
    "beyond_nyquist": ("o", "#0072b2"),
    "narrow": ("v", "#009e73"),
    "wide": ("^", "#b14d8e"),
    "faint": ("x", "#5b5b5b"),
}
_BINS = 30
"""Bins across the half sphere of directions."""
_TILE = 0.94
"""Side of a kernel's picture, the distance to the next one being 1."""
_DENSEST = 2.5
"""Directions per area, relative to the mean, that the last colour stands for."""


def gallery_charts(layers: Sequence[KernelLayer]) -> Iterator[tuple[str, Figure]]:
    """Yield name and figure of all pictures; kernels of the first, the largest and the last layer.

    Args:
        layers: At least one, of one family, in the network's order.
    """
    of_gabor = isinstance(layers[0].start, GaborKernels)
    draw_distributions = _draw_gabor_distributions if of_gabor else _draw_distributions
    yield "kernel_distributions", draw_distributions(layers)
    yield "kernel_layers", (_draw_gabor_layers if of_gabor else _draw_layers)(layers)
    largest = max(layers, key=lambda layer: len(layer.trained.energy))
    for layer in dict.fromkeys((layers[0], largest, layers[-1])):
        slug = layer.name.replace(", ", "_").replace(" ", "")
        yield f"kernels_{slug}", draw_kernels(layer)


def draw_kernels(layer: KernelLayer) -> Figure:
    """Kernels of a layer and their spectra at the start and trained, a column each.

    The kernels are evenly spaced in the order of their energy when trained, the strongest first.
    Each is cut through its centre, along the two axes in which it varies most then.
    """
    order = np.argsort(-layer.trained.energy, kind="stable")
    chosen = order[np.linspace(0, len(order) - 1, min(SHOWN, len(order))).round().astype(int)]
    figure = Figure(figsize=(0.8 + 0.8 * len(chosen), 4.1), layout="constrained")
    figure.suptitle(literal(f"Kernels and their spectra: {layer.name}"), wrap=True)
    rows = figure.subplots(4, 1)
    for panel in rows:
        panel.set(xlim=(0, len(chosen)), ylim=(0, 1), aspect=1, xticks=[], yticks=[])
        panel.spines[:].set_visible(False)
    for place, index in enumerate(chosen):
        axis = _flattest_axis(layer.trained.voxels(index))
        note = f"{_AXES.replace(_AXES[axis], '')}  {_first_parameter(layer, index)}"
        rows[0].text(place + _TILE / 2, 1.05, note, ha="center", fontsize=7)
        for kernels, row in ((layer.start, rows[:2]), (layer.trained, rows[2:])):
            voxels = kernels.voxels(index)
            _show_kernel(row[0], place, np.take(voxels, len(voxels) // 2, axis=axis))
            _show_spectrum(row[1], place, voxels, axis)
    for time, row in zip(_TIMES, (rows[:2], rows[2:]), strict=True):
        row[0].set_ylabel(f"{time}\nkernel", fontsize=8, color=_TIMES[time])
        row[1].set_ylabel(f"{time}\nspectrum", fontsize=8, color=_TIMES[time])
    return figure


def _flattest_axis(voxels: Array) -> int:
    """The axis along which a kernel varies least."""
    return int(np.argmin([np.square(np.diff(voxels, axis=axis)).sum() for axis in range(3)]))


def _first_parameter(layer: KernelLayer, index: int) -> str:
    """The first parameter of a trained kernel, with its name."""
    name = layer.trained.names[0]
    symbol = name.replace("sigma", r"$\sigma$", 1).replace("_", " ")
    return f"{symbol} {layer.trained.parameter(name)[index]:.1f}"


def _show_kernel(panel: Axes, place: int, plane: Array) -> None:
    limit = max(np.abs(plane).max(), 1e-12)
    extent = (place, place + _TILE, 0, _TILE)
    panel.imshow(plane.T, cmap="RdBu_r", vmin=-limit, vmax=limit, origin="lower", extent=extent)


def _show_spectrum(panel: Axes, place: int, voxels: Array, across: int) -> None:
    spectrum = np.abs(np.fft.fftshift(np.fft.fftn(voxels, (_SPECTRUM_SIDE,) * 3, (0, 1, 2))))
    plane = np.take(spectrum, _SPECTRUM_SIDE // 2, axis=across)
    extent = (place, place + _TILE, 0, _TILE)
    panel.imshow(plane.T, cmap="magma", vmin=0, origin="lower", extent=extent)


def _draw_distributions(layers: Sequence[KernelLayer]) -> Figure:
    """Each parameter of the kernels of all layers, at the start and trained."""
    names = layers[0].trained.names
    figure = Figure(figsize=(0.6 + 2.2 * len(names), 2.9), layout="constrained")
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for panel, name in zip(panels, names, strict=True):
        values = {
            time: np.concatenate([getattr(layer, time).parameter(name) for layer in layers])
            for time in _TIMES
        }
        found = np.concatenate([*values.values()])
        _draw_histograms(panel, values, *np.percentile(found, (0.5, 99.5)))
        panel.set_xlabel(name.replace("_", " "))
    panels[0].set_ylabel("kernels [%]")
    panels[0].legend(fontsize=7)
    return figure


def _draw_gabor_distributions(layers: Sequence[KernelLayer]) -> Figure:
    """Widths, frequencies and directions of the kernels of all layers, at the start and trained."""
    figure = Figure(figsize=(9, 2.9), layout="constrained")
    sigma, frequency, *spheres = figure.subplots(1, 4)
    states = {time: _states(layers, time) for time in _TIMES}
    side = max(kernels.kernel_size for kernels in states["trained"])
    _draw_histograms(sigma, {t: _all(k, "sigma") for t, k in states.items()}, 0, side + 1.0)
    sigma.set(xlabel="sigma [voxels]", ylabel="kernels [%]")
    sigma.legend(fontsize=7)
    waves = {time: _all(kernels, "steepest") for time, kernels in states.items()}
    _draw_histograms(frequency, waves, 0, 1.5 * NYQUIST)
    frequency.axvline(NYQUIST, color="black", linewidth=0.8, linestyle=":")
    frequency.set(xlabel="largest frequency along an axis\n[cycles per voxel]", ylabel="waves [%]")
    for panel, (time, kernels) in zip(spheres, states.items(), strict=True):
        directions = np.concatenate([k.directions for k in kernels], axis=1)
        density = _draw_directions(panel, directions)
        panel.set_title(f"directions, {time}", color=_TIMES[time], pad=14)
    figure.colorbar(density, ax=spheres, shrink=0.8, label="density / uniform")
    return figure


def _states(layers: Sequence[KernelLayer], time: str) -> list[GaborKernels]:
    """The kernels of layers of eq. (2) at one time."""
    found = (getattr(layer, time) for layer in layers)
    return [kernels for kernels in found if isinstance(kernels, GaborKernels)]


def _all(states: Sequence[GaborKernels], name: str) -> Array:
    return np.concatenate([getattr(kernels, name).ravel() for kernels in states])


def _draw_histograms(panel: Axes, values: dict[str, Array], first: float, last: float) -> None:
    """Draw histograms over a range; what lies outside is counted in the nearest bin."""
    if first == last:
        first, last = first - 0.5, last + 0.5
    bins = np.linspace(first, last, 41)
    for time, found in values.items():
        counts, _ = np.histogram(found.clip(first, last), bins)
        panel.stairs(
            100 * counts / found.size,
            bins,
            fill=time == "start",
            color=_TIMES[time],
            alpha=0.45 if time == "start" else 1,
            linewidth=1.5,
            label=time,
        )


def _draw_directions(panel: Axes, directions: Array) -> AxesImage:
    """Draw the density of unit vectors (3, N) on the half sphere z >= 0, areas to scale (Lambert).

    A wave has no front: opposite directions are the same one.
    """
    x, y, z = np.where(directions[2] < 0, -directions, directions)
    bins = np.linspace(-1, 1, _BINS + 1)
    counts, *_ = np.histogram2d(x / np.sqrt(1 + z), y / np.sqrt(1 + z), bins=bins)
    fine = np.linspace(-1, 1, 8 * _BINS + 1)[:-1] + 1 / (8 * _BINS)
    covered = (fine[:, None] ** 2 + fine**2 <= 1).reshape(_BINS, 8, _BINS, 8).mean(axis=(1, 3))
    uniform = x.size * covered * (2 / _BINS) ** 2 / np.pi
    density = np.divide(counts, uniform, out=np.full_like(counts, np.nan), where=covered > 0.5)
    picture = panel.imshow(
        density.T, origin="lower", extent=(-1, 1, -1, 1), cmap="viridis", vmin=0, vmax=_DENSEST
    )
    panel.axis("off")
    for column, row, name in ((1.1, 0, "x"), (0, 1.1, "y"), (0, 0, "z")):
        panel.text(column, row, name, ha="center", va="center", fontsize=8)
    return picture


def _draw_layers(layers: Sequence[KernelLayer]) -> Figure:
    """Each parameter, change and faint share of the kernels, layer by layer, as quartiles."""
    names = layers[0].trained.names
    figure = Figure(figsize=(7, 3 + 1.2 * len(names)), layout="constrained")
    *panels, change, share = figure.subplots(len(names) + 2, 1, sharex=True)
    for panel, name in zip(panels, names, strict=True):
        for shift, time in zip((-0.15, 0.15), _TIMES, strict=True):
            values = [getattr(layer, time).parameter(name) for layer in layers]
            _draw_quartiles(panel, np.arange(len(layers)) + shift, values, time)
        panel.set_ylabel(name.replace("_", "\n"))
    _draw_change(change, layers)
    _draw_shares(share, layers)
    for panel in (panels[0], share):
        panel.legend(ncols=4, fontsize=7, loc="lower right", bbox_to_anchor=(1, 0.98))
    return figure


def _draw_gabor_layers(layers: Sequence[KernelLayer]) -> Figure:
    """Widths, frequencies and change of the kernels and the named shares, layer by layer.

    Points are medians, bars reach from the lower to the upper quartile.
    """
    figure = Figure(figsize=(7, 7), layout="constrained")
    sigma, frequency, change, share = figure.subplots(4, 1, sharex=True)
    place = np.arange(len(layers))
    for shift, time in zip((-0.15, 0.15), _TIMES, strict=True):
        states = _states(layers, time)
        _draw_quartiles(sigma, place + shift, [k.sigma for k in states], time)
        _draw_quartiles(frequency, place + shift, [k.frequencies for k in states], time)
    _draw_change(change, layers)
    _draw_shares(share, layers)
    sigma.set(ylabel="sigma\n[voxels]", ylim=(0, None))
    frequency.set(ylabel="frequency\n[cycles per voxel]", ylim=(0, None))
    for panel in (sigma, share):
        panel.legend(ncols=4, fontsize=7, loc="lower right", bbox_to_anchor=(1, 0.98))
    return figure


def _draw_change(panel: Axes, layers: Sequence[KernelLayer]) -> None:
    changes = [100 * layer.change for layer in layers]
    _draw_quartiles(panel, np.arange(len(layers)), changes, "trained")
    panel.set(ylabel="change\n[% of the start]", ylim=(0, None))


def _draw_shares(panel: Axes, layers: Sequence[KernelLayer]) -> None:
    """Draw the named shares of the trained kernels, layer by layer, with the layers' names."""
    place, shares = np.arange(len(layers)), [layer.trained.shares() for layer in layers]
    for name in shares[0]:
        mark, color = _SHARES[name]
        label = name.replace("_n", " N")
        found = [100 * own[name] for own in shares]
        panel.plot(place, found, marker=mark, color=color, linestyle="none", label=label)
    most = 100 * max(max(own.values()) for own in shares)
    panel.set(ylabel="trained kernels\n[%]", ylim=(-0.05 * most - 0.1, None))
    names = [literal(layer.name) for layer in layers]
    panel.set_xticks(place, names, rotation=30, ha="right", fontsize=7)


def _draw_quartiles(panel: Axes, place: NDArray, values: Sequence[Array], time: str) -> None:
    low, middle, high = np.transpose([np.percentile(found, (25, 50, 75)) for found in values])
    bars = np.stack([middle - low, high - middle])
    panel.errorbar(place, middle, bars, fmt="o", markersize=4, color=_TIMES[time], label=time)
