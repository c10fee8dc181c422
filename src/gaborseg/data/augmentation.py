"""Random changes of a training sample: TorchIO's transforms in a row, and two of our own."""

import copy
import logging
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torchio as tio
from numpy.typing import NDArray
from SimpleITK import ProcessObject
from torch import Tensor
from torchio.transforms.augmentation import RandomTransform
from torchio.transforms.spatial_transform import SpatialTransform

from gaborseg.gpu import Matrix

log = logging.getLogger(__name__)

Transform = Callable[[tio.Subject], tio.Subject]
_HAS_SIDE = re.compile(r"left|right|(?<![a-z])(lh|rh|l|r)(?![a-z])", re.IGNORECASE)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of torch, NumPy and Python inside the block, on the CPU.

    TorchIO draws from torch's; a transform of the user's may draw from any. Afterwards all three
    go on as if nothing had been drawn.
    """
    of_python, of_numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(of_python)
            np.random.set_state(of_numpy)


def use_one_thread(worker: int) -> None:
    """Keep SimpleITK in a loader's worker from starting a thread for every processor."""
    ProcessObject.SetGlobalDefaultNumberOfThreads(1)


class Augmentation(tio.Compose):
    """Transforms by name, one after the other; it draws no random number itself.

    Args:
        transforms: TorchIO's transforms, or any callables from a ``torchio.Subject`` to another.
            They find the scan as ``subject["image"]``, the label map as ``subject["label"]`` and
            the names of the labels 1..n as ``subject["structures"]``.

    Raises:
        TypeError: One of them cannot be called.

    Example:
        >>> pipeline = Augmentation({"affine": RandomAffine(), "blur": tio.RandomBlur(p=0.2)})
        >>> list(pipeline.named)
        ['affine', 'blur']
    """

    def __init__(self, transforms: Mapping[str, Transform]) -> None:
        super().__init__(dict(transforms))  # type: ignore[arg-type]
        self.named = dict(transforms)

    def __call__(self, subject: tio.Subject) -> tio.Subject:  # type: ignore[override]
        """The subject after all transforms."""
        return self.apply_transform(subject)


@dataclass(frozen=True)
class AffineDraw:
    """One draw: degrees about the world's z axis, scale, and voxels moved along each array axis."""

    degrees: float
    scale: float
    shift: tuple[float, float, float]


def apply_affine(subject: tio.Subject, draw: AffineDraw) -> tio.Subject:
    """Rotate and scale all images about the centre of the volume, then move them by the shift.

    Scans are interpolated linearly and filled with the minimum of each channel; label maps take the
    nearest neighbour and are filled with 0. TorchIO takes the translation along the world's axes
    and scales it together with the image; both are undone here, so that the centre moves by exactly
    ``draw.shift`` voxels.
    """
    images = subject.get_images_dict(intensity_only=False)
    axes = next(iter(images.values())).affine[:3, :3]
    transform = tio.Affine(
        scales=(draw.scale, draw.scale, draw.scale),
        degrees=(0.0, 0.0, draw.degrees),
        translation=tuple((axes @ np.array(draw.shift) / draw.scale).tolist()),
        default_pad_value="minimum",
    )
    return tio.Subject({**subject, **{name: transform(image) for name, image in images.items()}})


def voxel_map(draw: AffineDraw, affine: NDArray, shape: Sequence[int]) -> Matrix:
    """Where each voxel of a moved volume comes from: (3, 4), from voxels and 1 to voxels.

    Args:
        draw: The transform, as ``apply_affine`` takes it.
        affine: (4, 4), voxel index to world millimetres.
        shape: Voxels of the volume along each axis.
    """
    cosine, sine = np.cos(np.radians(draw.degrees)), np.sin(np.radians(draw.degrees))
    back = np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])  # rotates the other way
    axes = np.asarray(affine, dtype=np.float64)[:3, :3]
    linear = np.linalg.solve(axes, back @ axes) / draw.scale
    centre = (np.array(shape) - 1) / 2
    offset = centre - linear @ (centre + np.array(draw.shift))
    return tuple(map(tuple, np.column_stack([linear, offset]).tolist()))


class RandomAffine(RandomTransform, SpatialTransform):
    """One affine transform as a whole, with a probability; a TorchIO transform of subjects.

    It is drawn from torch's global generator: six numbers, whether or not the sample is changed.

    Args:
        probability: How often a sample is transformed at all.
        degrees: Largest rotation about the world's z axis, either way.
        scale: Smallest and largest isotropic factor; above 1 enlarges.
        shift: Largest shift along each array axis, either way, as a fraction of the image size.

    Raises:
        ValueError: A value is outside its range.

    Example:
        >>> RandomAffine(degrees=10)
        RandomAffine(probability=0.8, degrees=10, scale=(0.8, 1.2), shift=0.2)
    """

    def __init__(
        self,
        probability: float = 0.8,
        degrees: float = 30.0,
        scale: tuple[float, float] = (0.8, 1.2),
        shift: float = 0.2,
    ) -> None:
        if not 0 <= probability <= 1:
            raise ValueError(f"probability must be in 0..1, got {probability}")
        if not 0 < scale[0] <= scale[1]:
            raise ValueError(f"scale must be positive and increasing, got {tuple(scale)}")
        if degrees < 0 or shift < 0:
            raise ValueError(f"degrees and shift must not be negative, got {degrees} and {shift}")
        super().__init__(p=probability)
        self.degrees = degrees
        self.scale = scale
        self.shift = shift
        self.args_names = ["probability", "degrees", "scale", "shift"]

    def draw(self, shape: tuple[int, ...]) -> AffineDraw | None:
        """Parameters for a volume of this shape, or None when it is to be left alone."""
        chance, angle, size, *shift = torch.rand(6, dtype=torch.float64).tolist()
        if chance >= self.probability:
            return None
        low, high = self.scale
        depth, height, width = (
            (2 * fraction - 1) * self.shift * extent
            for fraction, extent in zip(shift, shape, strict=True)
        )
        return AffineDraw(
            degrees=(2 * angle - 1) * self.degrees,
            scale=low + size * (high - low),
            shift=(depth, height, width),
        )

    def __call__(self, subject: tio.Subject) -> tio.Subject:  # type: ignore[override]
        """The subject with its images transformed alike, or the same subject."""
        return self.apply_transform(subject)

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        """Draw, and transform all images alike or none."""
        draw = self.draw(subject.spatial_shape)
        log.debug("augmentation: %s", draw)
        return subject if draw is None else apply_affine(subject, draw)


class RandomMirror(RandomTransform, SpatialTransform):
    """Mirrors left and right with a probability, unless a structure has a side.

    A structure has a side if its name says so: ``left_hippocampus``, ``ctx-lh-insula``,
    ``Amygdala_R``. Mirrored, it would be labelled as its counterpart.

    Args:
        probability: How often a sample is mirrored.

    Raises:
        ValueError: The probability is not in 0..1.
    """

    def __init__(self, probability: float = 0.5) -> None:
        super().__init__(p=probability)
        self.args_names = ["probability"]

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        """Mirror all images, or leave them alone because of their structures."""
        names: Sequence[str] = subject.get("structures", ())  # type: ignore[assignment]
        if any(map(_HAS_SIDE.search, names)):
            return subject
        return tio.Flip(axes=("Left",))(subject)


_OWN = (RandomAffine, RandomMirror)
"""Transforms of which it is known, and tested, what they leave as it was."""


def augmented(
    transform: Transform, image: Tensor, label: Tensor, affine: NDArray, structures: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """A transformed sample: image (C, *S) and label map (*S), of the shapes and types they had.

    Args:
        transform: Called with a subject of ``image``, ``label`` and ``structures``.
        image: (C, *S) floating.
        label: (*S), of an integer type.
        affine: (4, 4), voxel index to world millimetres.
        structures: Names of the labels 1..n.

    Raises:
        ValueError: The shape of the sample would change, intensities would not be finite, or labels
            would be other integers than before.
    """
    new_image, new_label = _volumes(transformed(transform, image, label, affine, structures))
    return new_image.to(image.dtype), new_label[0].to(label.dtype)


def transformed(
    transform: Transform, image: Tensor, label: Tensor, affine: NDArray, structures: Sequence[str]
) -> tio.Subject:
    """The subject that a transform makes of a sample, of the same shape; see ``augmented``."""
    moved = transform(_subject(image, label, affine, structures))
    foreign = any(not isinstance(part, _OWN) for part in _parts(transform).values())
    if foreign and (problem := _problem(moved, image, label)):
        raise ValueError(f"augmentation {problem}")
    return moved


def try_augmentation(
    transform: Transform, image: Tensor, label: Tensor, affine: NDArray, structures: Sequence[str]
) -> None:
    """Apply every transform once, however seldom it would be, so that a mistake shows at once.

    Args:
        transform: As those that follow, as for ``augmented``.
        image: (C, *S).
        label: (*S).
        affine: (4, 4).
        structures: Names of the labels 1..n.

    Raises:
        ValueError: A transform fails, does to a sample what it must not, or mirrors structures that
            have a side; the message names its setting.
    """
    subject, found = _subject(image, label, affine, structures), ""
    for key, part in _parts(transform).items():
        _refuse_flip(key, part, structures)
        always = copy.copy(part)
        if isinstance(always, tio.Transform):
            always.probability = 1
        try:
            with seeded(0):
                subject = always(subject)
            problem = _problem(subject, image, label)
        except Exception as error:
            told = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(f"{key} cannot be applied to a sample: {told}") from error
        found = (found or f"{key} {problem}") if problem else ""
    if found:
        raise ValueError(found)


def _parts(transform: Transform) -> dict[str, Transform]:
    """The transforms of a pipeline by the names of their settings."""
    if not isinstance(transform, Augmentation):
        return {"augmentation": transform}
    return {f"augmentation.transforms.{name}": part for name, part in transform.named.items()}


def _subject(
    image: Tensor, label: Tensor, affine: NDArray, structures: Sequence[str]
) -> tio.Subject:
    """A subject whose label map may be changed in place."""
    return tio.Subject(
        image=tio.ScalarImage(tensor=image, affine=affine),
        label=tio.LabelMap(tensor=label[None].clone(), affine=affine),
        structures=tuple(structures),
    )


def _volumes(subject: tio.Subject) -> tuple[Tensor, Tensor]:
    """Image (C, *S) and label map (1, *S) of a subject."""
    images = subject.get_images_dict(intensity_only=False)
    return images["image"].data, images["label"].data


def _problem(moved: tio.Subject, image: Tensor, label: Tensor) -> str:
    """What a transform has done to a sample that it must not, or nothing."""
    new_image, new_label = _volumes(moved)
    for old, new in ((image, new_image), (label[None], new_label)):
        if old.shape != new.shape:
            return (
                f"must keep the shape of a sample, got {_shape(new)} of {_shape(old)}; "
                "data.patch_size=... trains on parts of volumes"
            )
    if not torch.isfinite(torch.stack(torch.aminmax(new_image))).all():
        return "must keep intensities finite, got NaN or infinity"
    if (strange := _new_label(label[None], new_label)) is not None:
        return f"must keep the labels of a sample, got a new one, {strange:g}"
    return ""


def _shape(volume: Tensor) -> str:
    return " x ".join(map(str, volume.shape[1:]))


def _new_label(old: Tensor, new: Tensor) -> float | None:
    """A value of a label map that it did not have before, and that is not 0."""
    if new.dtype == old.dtype and torch.equal(new, old):
        return None
    whole = new.to(old.dtype)
    if new.dtype != old.dtype and (parts := new[whole != new]).numel():
        return float(parts[0])
    counts = [torch.bincount(volume.flatten(), minlength=256) for volume in (old, whole)]
    fresh = (counts[0] == 0) & (counts[1] > 0)
    fresh[0] = False
    return float(fresh.nonzero()[0]) if fresh.any() else None


def _refuse_flip(key: str, part: Any, structures: Sequence[str]) -> None:
    """Check that TorchIO's flips do not mirror structures that have a side.

    Raises:
        ValueError: They do.
    """
    sided = [name for name in structures if _HAS_SIDE.search(name)]
    flips = isinstance(part, tio.Flip | tio.RandomFlip)
    if sided and flips and any(str(axis).lower()[0] in "0lr" for axis in part.axes):
        raise ValueError(
            f"{key} must not mirror left and right, because {sided[0]} has a side; choose other "
            "axes, or gaborseg.data.RandomMirror, which leaves such data alone"
        )
