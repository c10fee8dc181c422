"""What the scans of a training look like, to tell when another scan does not, and to match it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaborseg.data.cache import PreparedCase
from gaborseg.scans import voxel_sides

_MATCHINGS = ("auto", "always", "never")
"""When a scan's histogram is made that of the training scans."""
NO_HISTOGRAM = "does not tell the histogram of its training scans: match_histograms=never"
_UNUSUAL = 0.5
"""So far from the training scans, 1 being the farthest of them, a scan is matched to them."""
LEVELS = np.linspace(0.01, 0.99, 50)
"""Shares of the visible voxels below each of the quantiles that stand for their histogram."""
_DARK = 0.01
"""Share of the voxels that are darker than the background is taken to be."""
_VISIBLE = 0.1
"""What is brighter than this share of the range of intensities is not background."""
_LEAST_DISTANCE = 0.1
"""Scans of one scanner may be very alike; so much difference is never taken for a large one."""
_MOST_VOXELS = 2**18
"""Voxels of a volume that are looked at, evenly spread: more would change no quantile."""


@dataclass(frozen=True)
class Appearance:
    """Intensities and fields of view of a set of prepared scans; plain lists, ready for JSON.

    Attributes:
        quantiles: Of the z-scored intensities of each channel where it is not background, the mean
            over the scans.
        distances: The largest distance of one scan from the mean of the others, for each channel.
        field_of_view: The shortest and the longest side of the scans' cubes, mm.
    """

    quantiles: list[list[float]]
    distances: list[float]
    field_of_view: list[float]

    def as_json(self) -> dict[str, Any]:
        """The attributes by name."""
        return asdict(self)

    def unlikeness(self, image: NDArray) -> float:
        """How far a scan is from these, 1 being the farthest of them; of several channels the most.

        Args:
            image: (C, *S), prepared and z-scored.
        """
        distances = distance(intensity_quantiles(image), np.array(self.quantiles))
        return float((distances / np.array(self.distances)).max())

    def matched(self, image: NDArray) -> NDArray:
        """A scan with the histogram of these: each channel is mapped by a rising polygon.

        Quantiles of what is not background become those of the training scans, and the background
        becomes theirs; between them, and beyond, the map is straight. A channel of one intensity
        stays as it is.

        Args:
            image: (C, *S), prepared and z-scored.

        References:
            Nyul, Udupa and Zhang, New variants of a method of MRI scale standardization, IEEE
            Transactions on Medical Imaging 2000.
        """
        own = intensity_quantiles(image)
        channels = zip(image, own, np.array(self.quantiles), strict=True)
        return np.stack([_matched(*channel) for channel in channels]).astype(image.dtype)


def appearance_of(cases: Sequence[PreparedCase]) -> Appearance:
    """What prepared cases look like."""
    each = np.stack([intensity_quantiles(case.read("image")) for case in cases])
    mean, others = each.mean(axis=0), max(1, len(each) - 1)
    largest = distance(each, mean).max(axis=0) * len(each) / others
    sides = [field_of_view(case.read("label").shape, case.read("affine")) for case in cases]
    return Appearance(
        quantiles=mean.round(5).tolist(),
        distances=np.maximum(_LEAST_DISTANCE, largest).round(5).tolist(),
        field_of_view=[round(min(sides), 3), round(max(sides), 3)],
    )


class Histograms:
    """Gives scans that are unlike the training scans their histogram.

    Args:
        known: What the training scans of one or more models look like; perhaps of none.
        matching: ``"always"``, ``"never"``, or ``"auto"``: scans that are more than half as far
            from the training scans as the farthest of these.

    Raises:
        ValueError: There is no such matching.
    """

    def __init__(self, known: Sequence[Appearance], matching: str) -> None:
        if matching not in _MATCHINGS:
            told = ", ".join(_MATCHINGS)
            raise ValueError(f"match_histograms must be one of {told}, got {matching}")
        self.known = known
        self.least = {"always": 0.0, "auto": _UNUSUAL, "never": np.inf}[matching]

    @property
    def in_use(self) -> bool:
        """Whether any scan can be changed."""
        return bool(self.known) and np.isfinite(self.least)

    def __call__(self, image: NDArray) -> tuple[NDArray, float, bool]:
        """A scan, how far it was from the training scans nearest to it, and whether it is changed.

        Args:
            image: (C, *S), prepared and z-scored.
        """
        if not self.known:
            return image, float("nan"), False
        distances = [one.unlikeness(image) for one in self.known]
        nearest = int(np.argmin(distances))
        if not distances[nearest] >= self.least:  # of NaN, neither is true
            return image, distances[nearest], False
        return self.known[nearest].matched(image), distances[nearest], True


def _matched(channel: NDArray, quantiles: NDArray, wanted: NDArray) -> NDArray[np.float64]:
    """A channel (*S) whose background and quantiles (50,) become those of z-scored scans.

    Where quantiles are the same, for a scan has few intensities, they become the mean of the wanted
    ones. Beyond the last quantile the map goes on as far as the quantiles reach, and then ends.
    """
    width = float(np.ptp(quantiles))
    x, place = np.unique(np.round(quantiles, 6), return_inverse=True)
    y = np.bincount(place, wanted) / np.bincount(place)
    low = float(np.quantile(_sampled(channel.ravel()), _DARK))
    if low < x[0]:
        x, y = np.append(low, x), np.append(min(_background(wanted), y[0]), y)
    if len(x) < 2:
        return channel.astype(np.float64)
    slope = (y[-1] - y[0]) / (x[-1] - x[0])
    above = np.clip(channel - x[-1], 0, width) * slope
    below = np.clip(channel - x[0], -width, 0) * slope
    return np.interp(channel, x, y) + above + below


def _background(quantiles: NDArray) -> float:
    """What the background of scans is, if the quantiles of the rest are these after z-scoring.

    A share f of the voxels has mean m and variance v, the others one intensity b. z-scoring makes
    f m + (1 - f) b = 0 and f (v + m^2) + (1 - f) b^2 = 1, so that v f^2 - (v + m^2 + 1) f + 1 = 0.
    """
    mean, variance = float(quantiles.mean()), float(quantiles.var())
    half = variance + mean**2 + 1
    share = 2 / (half + np.sqrt(max(half**2 - 4 * variance, 0)))
    return float(quantiles[0]) if share > 1 - 1e-6 else -share * mean / (1 - share)


def intensity_quantiles(image: NDArray) -> NDArray[np.float64]:
    """The quantiles of each channel (C, *S) where it is not background, at the LEVELS: (C, 50)."""
    flat = image.reshape(len(image), -1)
    return np.stack([np.quantile(visible(_sampled(channel)), LEVELS) for channel in flat])


def _sampled(values: NDArray) -> NDArray:
    """Some of the intensities (n,) of a volume, evenly spread."""
    return values[:: max(1, len(values) // _MOST_VOXELS)]


def visible(values: NDArray) -> NDArray:
    """Those of some intensities that are not background, (n,); all if they are the same."""
    low, high = np.quantile(values, [_DARK, 0.995])
    seen = values[values > low + _VISIBLE * (high - low)]
    return seen if seen.size else values


def distance(quantiles: NDArray, reference: NDArray) -> NDArray[np.float64]:
    """Mean difference of quantiles, the area between two cumulative histograms: (..., 50) to (...).

    In standard deviations of the intensities (Wasserstein's distance).
    """
    return np.abs(quantiles - reference).mean(axis=-1)


def field_of_view(shape: Sequence[int], affine: NDArray) -> float:
    """The longest side of a volume, mm."""
    return float((voxel_sides(affine) * shape).max())
