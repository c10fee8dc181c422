"""Colours of structures: told apart by everybody, and the same in every picture."""

import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

PALETTE = (
    "#3149aa",
    "#869e61",
    "#b6db55",
    "#c29ec2",
    "#db7900",
    "#f3b6aa",
    "#3d6db6",
    "#864955",
    "#b64986",
    "#f39e00",
    "#6186e7",
    "#920c18",
    "#f3dbaa",
    "#6d6d18",
    "#92c26d",
    "#86ceff",
    "#24ffe7",
    "#6daaff",
    "#613d79",
    "#b6799e",
)
"""As far apart as a search found in OKLab, whatever cones the reader's eyes lack, in an order that
gives neighbours among the structures of the brain unlike colours."""

_FADE = (0.0, 0.45, -0.4, 0.65, -0.6, 0.25, -0.2)
"""How far the colours of a further round through the palette go towards white, or black (< 0)."""


def structure_colors(count: int) -> NDArray[np.float64]:
    """Colours of the labels 1 ... count, (count, 3) RGB in [0, 1].

    The first 20 differ for every reader; further ones are lighter and darker shades of them, and
    after 140 they come again.
    """
    base = np.array([to_rgb(color) for color in PALETTE])
    shades = [base + abs(fade) * ((fade > 0) - base) for fade in _FADE]
    return np.resize(np.concatenate(shades), (count, 3))
