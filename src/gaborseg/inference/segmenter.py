"""From a scan to its label map: one model or several, at the scan's own grid."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gaborseg.data import (
    NO_HISTOGRAM,
    Histograms,
    check_patches,
    has_side,
    infer_volume,
    zscore,
)
from gaborseg.inference.framing import Frame, frame_for
from gaborseg.models import Facts, Model, ModelError, check_logits
from gaborseg.scans import PreparedGrid, clip, labels_to_native, to_prepared, voxel_sides

_AXES = "xyz"
"""Axes of a prepared scan: left to right, posterior to anterior, inferior to superior."""
_UNLIKE = 1.5
"""Warn about a scan this many times as far from the training scans as the farthest of them."""
_SHORT = 0.8
"""So is a scan whose longest side is less than this share of the shortest training scan's."""


@dataclass(frozen=True)
class Segmentation:
    """What was found in a scan.

    Attributes:
        labels: (D, H, W) uint8, on the scan's own grid.
        scores: (C, N, N, N) on the prepared grid: what the decision compared.
        grid: The prepared grid, and where it lies in the scan.
        confidence: Mean lead of the label that was chosen over the next, where it is not the
            background; in scores, which are about 0..1. NaN where nothing was found.
        unlikeness: How far the intensities are from those of the training scans, 1 being the
            farthest of them; NaN if that is not known.
        matched: Whether they were given the histogram of the training scans.
        warnings: What speaks against trusting it.
    """

    labels: Tensor
    scores: Tensor
    grid: PreparedGrid
    confidence: float
    unlikeness: float
    matched: bool = False
    warnings: list[str] = field(default_factory=list)


class Segmenter:
    """Segments scans with the mean of the scores of one or more models.

    Args:
        models: They must have the same structures, channels and size.
        flips: Axes, of ``"xyz"``, along which the scan is also segmented mirrored.
        patch_size: Voxels a side of the patches in which the prepared scan is segmented; whole, or
            as in training, if None.
        device: Where the models are.
        matching: Whether a scan gets the histogram of the training scans: ``"always"``,
            ``"never"``, or ``"auto"``, where it is unlike them, and not of a CT.

    Raises:
        ModelError: The models do not belong together.
        ValueError: ``matching`` or a flip is unknown or would swap left and right structures, or
            ``patch_size`` is not positive or not what an exported model takes.
    """

    def __init__(
        self,
        models: Sequence[Model],
        flips: Sequence[str] = (),
        patch_size: int | None = None,
        device: torch.device | str = "cpu",
        matching: str = "auto",
    ) -> None:
        _check_agreement(models)
        _check_flips(flips, models[0].facts.structures)
        self.models = models
        self.flips = [_AXES.index(axis) + 2 for axis in dict.fromkeys(flips)]
        self.patch_size = _common_patch(models) if patch_size is None else patch_size
        self.device = torch.device(device)
        self.matching = "never" if matching == "auto" and self.facts.window else matching
        known = [model.facts.appearance for model in models]
        silent = [model.file for model in models if model.facts.appearance is None]
        if matching == "always" and silent:
            raise ModelError(f"{silent[0]} {NO_HISTOGRAM}")
        self.histograms = Histograms([one for one in known if one is not None], self.matching)
        _check_patch_size(self.patch_size, models)

    @property
    def facts(self) -> Facts:
        """What the first model was trained on; the others agree with it."""
        return self.models[0].facts

    @property
    def field_of_view(self) -> tuple[float, float]:
        """The shortest and the longest side of any model's training scans, mm."""
        lows, highs = zip(*(model.facts.field_of_view for model in self.models), strict=True)
        return min(lows), max(highs)

    @torch.inference_mode()
    def __call__(self, image: Tensor, affine: np.ndarray) -> Segmentation:
        """Segment a scan: image (I, D, H, W), affine (4, 4) to millimetres.

        Raises:
            ValueError: What the models would see has no contrast.
            ModelError: A model's logits are not finite.
        """
        prepared, grid, frame = self.prepare(image, affine)
        seen, unlikeness, matched = self.histograms(prepared.numpy())
        scores = self.scores(torch.from_numpy(seen))
        confidence = mean_margin(scores)
        longest = float((grid.scan_spacing * grid.shape).max())
        return Segmentation(
            labels=labels_to_native(scores, grid),
            scores=scores,
            grid=grid,
            confidence=confidence,
            unlikeness=unlikeness,
            matched=matched,
            warnings=list(self._warnings(frame, longest, confidence, unlikeness)),
        )

    def prepare(self, image: Tensor, affine: np.ndarray) -> tuple[Tensor, PreparedGrid, Frame]:
        """A scan (I, D, H, W) as the models want it, (I, *size), and the cube it was taken from.

        Its intensities are clipped first, if those of the training scans were.

        Raises:
            ValueError: What the models would see has no contrast.
        """
        image = clip(image, self.facts.window)
        spacing = voxel_sides(affine)
        frame = frame_for(image[0], spacing, self.field_of_view)
        cube, grid = to_prepared(image, affine, self.facts.cube, frame.field_of_view, frame.centre)
        seen = centred(cube, self.facts.size).numpy()
        if any(channel.min() == channel.max() for channel in seen):
            raise ValueError(f"there is but one intensity in the {frame.field_of_view:.0f} mm seen")
        prepared = np.stack([zscore(channel) for channel in seen])
        return torch.from_numpy(prepared), grid, frame

    def scores(self, prepared: Tensor) -> Tensor:
        """Mean scores (C, N, N, N) of a prepared scan (I, *size) over models and flips."""
        cube = self.facts.cube
        image = prepared[None].to(self.device)
        total: Tensor | None = None
        for model, axes in itertools.product(self.models, _subsets(self.flips)):
            scores = self._scores_of(model, image, axes)
            total = scores if total is None else total.add_(scores)
        assert total is not None
        total /= len(self.models) * 2 ** len(self.flips)
        return centred(total[0].cpu(), (cube, cube, cube))

    def _scores_of(self, model: Model, image: Tensor, flipped: tuple[int, ...]) -> Tensor:
        if flipped:
            return self._scores_of(model, image.flip(flipped), ()).flip(flipped)
        logits = infer_volume(model.logits, image, self.patch_size)
        return model.scores(check_logits(logits, model.file))

    def _warnings(
        self, frame: Frame, longest: float, confidence: float, unlikeness: float
    ) -> Iterator[str]:
        low, high = self.field_of_view
        if unlikeness > _UNLIKE:
            yield f"intensities unlike the training scans ({unlikeness:.1f} times the farthest)"
        if longest < _SHORT * low:
            yield f"field of view of {longest:.0f} mm, in training {low:.0f} to {high:.0f} mm"
        if frame.cut > 0.02 * high:
            yield f"{frame.cut:.0f} mm of what it shows lie outside the {high:.0f} mm that fit"
        if np.isnan(confidence):
            yield "nothing was found"


def mean_margin(scores: Tensor) -> float:
    """Mean of largest minus second largest score (C, *S) where the largest is not the first's."""
    best, second = scores[0].clone(), torch.full_like(scores[0], -torch.inf)
    for score in scores[1:]:
        second = torch.maximum(second, torch.minimum(best, score))
        best = torch.maximum(best, score)
    inside = best > scores[0]
    return float((best - second)[inside].mean()) if inside.any() else float("nan")


def centred(volume: Tensor, size: Sequence[int]) -> Tensor:
    """A volume (..., D, H, W) cropped, or padded with zeros, to another size about its centre."""
    missing = [new - old for new, old in zip(size, volume.shape[-3:], strict=True)]
    before = [int(amount / 2) for amount in missing]  # towards 0: cropping undoes padding
    after = [amount - first for amount, first in zip(missing, before, strict=True)]
    pairs = zip(reversed(before), reversed(after), strict=True)
    return F.pad(volume, [amount for pair in pairs for amount in pair])


def _subsets(axes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Every choice of some of the axes, none of them first."""
    sizes = range(len(axes) + 1)
    return itertools.chain.from_iterable(itertools.combinations(axes, size) for size in sizes)


def _check_agreement(models: Sequence[Model]) -> None:
    """Check that models can be averaged.

    Raises:
        ModelError: They differ in structures, channels, size, the affine of headers with two or, by
            more than 1 %, in spacing.
    """
    first, *others = models
    for model in others:
        for name in ("structures", "channels", "size", "forms", "volumes", "num_volumes", "window"):
            here, there = getattr(model.facts, name), getattr(first.facts, name)
            if here != there:
                raise ModelError(f"{model.file}: {name} must be those of {first.file}: {there}")
        if abs(model.facts.spacing / first.facts.spacing - 1) > 0.01:
            raise ModelError(
                f"{model.file}: spacing must be that of {first.file}, "
                f"{first.facts.spacing:.3g} mm, got {model.facts.spacing:.3g}"
            )


def _check_flips(flips: Sequence[str], structures: Sequence[str]) -> None:
    """Check that mirroring swaps no structures.

    Raises:
        ValueError: An axis is unknown, or left and right structures would be swapped.
    """
    if unknown := set(flips) - set(_AXES):
        raise ValueError(f"flips must be some of x, y, z, got {', '.join(sorted(unknown))}")
    sided = [name for name in structures if has_side(name)]
    if "x" in flips and sided:
        raise ValueError(f"flips must not hold x: {sided[0]} would be taken for the other side's")


def _common_patch(models: Sequence[Model]) -> int | None:
    """Voxels a side of the patches that all models are to be used on; None: on whole volumes.

    Raises:
        ModelError: They differ.
    """
    first, *others = models
    for model in others:
        if model.patch_size != first.patch_size:
            raise ModelError(
                f"{model.file}: patch_size must be that of {first.file}, {first.patch_size}, "
                f"got {model.patch_size}; patch_size=... chooses one for all"
            )
    return first.patch_size


def _check_patch_size(patch_size: int | None, models: Sequence[Model]) -> None:
    """Check that patches are what the models take.

    Raises:
        ValueError: They are not, or are not positive, or too many.
    """
    if patch_size is not None and patch_size < 1:
        raise ValueError(f"patch_size must be positive, got {patch_size}")
    check_patches(patch_size, models[0].facts.size)
    for model in models:
        shape = model.facts.shape_seen(patch_size)
        if model.fixed_size not in (None, shape):
            raise ValueError(f"{model.file} takes volumes of {model.fixed_size} alone, got {shape}")
