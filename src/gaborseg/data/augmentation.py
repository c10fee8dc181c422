"""Random changes of a training sample: TorchIO's transforms in a row, and some of our own."""

import copy
import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torchio as tio
from numpy.typing import NDArray
from SimpleITK import ProcessObject
from torch import Tensor

from gaborseg.data.transforms import RandomAffine, RandomContrast, RandomMirror, has_side

log = logging.getLogger(__name__)

Transform = Callable[[tio.Subject], tio.Subject]


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


_OWN = (RandomAffine, RandomContrast, RandomMirror)
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
    sided = [name for name in structures if has_side(name)]
    flips = isinstance(part, tio.Flip | tio.RandomFlip)
    if sided and flips and any(str(axis).lower()[0] in "0lr" for axis in part.axes):
        raise ValueError(
            f"{key} must not mirror left and right, because {sided[0]} has a side; choose other "
            "axes, or gaborseg.data.RandomMirror, which leaves such data alone"
        )
