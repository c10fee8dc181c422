"""The paper's Fig. 1, from its equations: sinusoidal factors, and two losses in a simulation.

(a) What eq. (2) multiplies the Gaussian envelope with, for equal and different amplitudes and
frequencies of the two terms.

(b) The scores p of a training that goes from random to perfect, in an image of 100^3 voxels with a
cubic object of side m: normal, of a mean that goes from 1/2 to 1 in the object and from 1/2 to 0
around it and a standard deviation that goes from 1/2 to 0, clipped to [0, 1]. All objects and all
steps share one draw, of which the first m^3 voxels are the object: the scores are independent, so
where the object lies does not matter.

References:
    Wong and Moradi, 3D Segmentation with Fully Trainable Gabor Kernels and Pearson's Correlation
    Coefficient, MLMI 2022, eqs. (2), (4), (5) and Fig. 1.
"""

import math
from collections.abc import Sequence
from itertools import cycle
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

_IMAGE_SIDE = 100
OBJECT_SIDES = (5, 25, 50, 75, 95)
REACH = 10
"""Voxels on either side of the kernel's centre that Fig. 1a shows."""
_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#b14d8e", "#5b5b5b")
"""Okabe and Ito's, in the order of the curves."""


class _Sinusoid(NamedTuple):
    """Amplitudes, and frequencies in cycles per voxel, of the two terms of eq. (2)."""

    amplitude_re: float
    amplitude_im: float
    frequency_re: float
    frequency_im: float


SINUSOIDS = {
    "equal A, equal f": _Sinusoid(1, 1, 0.1, 0.1),
    "different A, equal f": _Sinusoid(1, 0.4, 0.1, 0.1),
    "equal A, different f": _Sinusoid(1, 1, 0.1, 0.23),
    "different A, different f": _Sinusoid(1, 0.4, 0.1, 0.23),
}


class LossCurves(NamedTuple):
    """Losses along a simulated training.

    mean_score (n,), the mean that the scores in the object are drawn around before they are
    clipped, 1/2 ... 1; pcc and dice, (objects, n) in [0, 1], the losses of each object.
    """

    mean_score: NDArray[np.float64]
    pcc: NDArray[np.float64]
    dice: NDArray[np.float64]


def sinusoidal_factor(
    offset: NDArray[np.float64], sinusoid: _Sinusoid, phase: float = 0.0
) -> NDArray[np.float64]:
    """A_re cos(2 pi f_re x' + psi) + A_im sin(2 pi f_im x' + psi), eq. (2), at each offset x'.

    Args:
        offset: Distances x' from the kernel's centre along the wave, in voxels, any shape.
        sinusoid: Amplitudes and frequencies.
        phase: psi, in radians.
    """
    a_re, a_im, f_re, f_im = sinusoid
    angle = 2 * math.pi * offset
    return a_re * np.cos(angle * f_re + phase) + a_im * np.sin(angle * f_im + phase)


def simulated_losses(
    object_sides: Sequence[int] = OBJECT_SIDES,
    *,
    image_side: int = _IMAGE_SIDE,
    steps: int = 101,
    seed: int = 0,
) -> LossCurves:
    """PCC and Dice loss, eqs. (4) and (5), of each object along the simulated training.

    Args:
        object_sides: Sides m of the cubic objects, in voxels, below that of the image.
        image_side: Voxels a side of the image.
        steps: Points of the training, first and last included, at least 2.
        seed: Seed of the one draw.

    Raises:
        ValueError: An object does not leave room around it, or there are fewer than 2 steps.
    """
    if not all(0 < side < image_side for side in object_sides):
        raise ValueError(f"object_sides must lie in 1 ... {image_side - 1}, got {object_sides}")
    if steps < 2:
        raise ValueError(f"steps must be at least 2, got {steps}")
    draw = np.random.default_rng(seed).standard_normal(image_side**3)
    sizes = np.array(object_sides) ** 3
    means = np.linspace(0.5, 1, steps)
    losses = [_losses(draw, sizes, mean) for mean in means]
    pcc, dice_losses = np.stack(losses, axis=-1)
    return LossCurves(means, pcc, dice_losses)


def _losses(
    draw: NDArray[np.float64], sizes: NDArray[np.int64], mean: float
) -> NDArray[np.float64]:
    """PCC and Dice loss of each object at one point of the training, (2, objects)."""
    deviation = 1 - mean
    inside = _running_sums(mean + deviation * draw[: sizes.max()], sizes)
    outside = _running_sums(1 - mean + deviation * draw, np.append(sizes, draw.size))
    sum_p, sum_pp = inside + outside[:, -1:] - outside[:, :-1]
    sum_py, mean_p, mean_y = inside[0], sum_p / draw.size, sizes / draw.size
    covariance = sum_py / draw.size - mean_p * mean_y
    variances = (sum_pp / draw.size - mean_p**2) * (mean_y - mean_y**2)
    correlation = covariance / np.sqrt(variances)
    return np.stack([1 - (correlation + 1) / 2, 1 - 2 * sum_py / (sum_p + sizes)])


def _running_sums(scores: NDArray[np.float64], ends: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sums of the clipped scores, and of their squares, up to each end: (2, ends)."""
    clipped = scores.clip(0, 1)
    return np.stack([np.cumsum(values)[ends - 1] for values in (clipped, clipped**2)])


def draw_sinusoids() -> Figure:
    """Fig. 1a: the sinusoidal factor of each of ``SINUSOIDS``, a panel each."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True, sharey=True)
    offset = np.linspace(-REACH, REACH, 1001)
    for panel, color, (name, sinusoid) in zip(
        panels.flat, _COLORS, SINUSOIDS.items(), strict=False
    ):
        panel.plot(offset, sinusoidal_factor(offset, sinusoid), color=color)
        panel.set_title(f"{name}\n{_formula(sinusoid)}")
    figure.supxlabel("offset x' along the wave [voxels]")
    figure.supylabel("sinusoidal factor")
    return figure


def _formula(sinusoid: _Sinusoid) -> str:
    a_re, a_im, f_re, f_im = sinusoid
    return (
        f"$A_{{re}}$ = {a_re:g}, $A_{{im}}$ = {a_im:g}, "
        f"$f_{{re}}$ = {f_re:g}, $f_{{im}}$ = {f_im:g}"
    )


def draw_losses(curves: LossCurves, object_sides: Sequence[int] = OBJECT_SIDES) -> Figure:
    """Fig. 1b: the two losses against the mean score in the object, a line for each object."""
    figure = Figure(figsize=(7, 3), layout="constrained")
    panels: Sequence[Axes] = figure.subplots(1, 2, sharey=True)
    for panel, name, losses in zip(panels, ("PCC", "Dice"), curves[1:], strict=True):
        for side, color, line, loss in zip(
            object_sides, cycle(_COLORS), cycle(_LINES), losses, strict=False
        ):
            panel.plot(curves.mean_score, loss, color=color, linestyle=line, label=f"m = {side}")
        panel.set_title(f"{name} loss")
        panel.set_xlabel("mean score in the object")
    panels[0].set_ylabel("loss")
    panels[0].set_ylim(-0.02, 1.02)
    panels[0].legend(title="object of m³ voxels")
    return figure
