"""Which case comes when, and what becomes of it: decided by seed, epoch and subject alone."""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import chain, cycle, islice
from typing import Any

import numpy as np
import torch
import torch.distributed
import torchio as tio
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, get_worker_info
from torch.utils.data import Dataset as TorchDataset

from gaborseg.data.augmentation import (
    Augmentation,
    Transform,
    augmented,
    seeded,
    transformed,
    use_one_thread,
)
from gaborseg.data.cache import PreparedCase
from gaborseg.data.patches import RandomPatches
from gaborseg.data.transforms import RandomAffine, voxel_map
from gaborseg.gpu import Resampling, coordinates, nearest_labels
from gaborseg.machine import die_with_parent

DEVICES = ("cpu", "gpu")
_MATRIX = "matrix"


def sample_seed(*parts: object) -> int:
    """A 63-bit seed from the text of its parts, the same on every machine."""
    digest = blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def process_rank() -> tuple[int, int]:
    """Rank of this process and number of processes that train together."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


class EpochSampler(DistributedSampler[tuple[int, int]]):
    """Pairs (epoch, position): the epoch travels with the position to persistent workers.

    In training, positions are shuffled by (seed, epoch), and the first are repeated until every
    process has equally many. Otherwise each position comes once, in order, in one of the processes;
    only a process that would get none repeats the first, for it may not stay without a batch.

    It is a ``DistributedSampler`` by type, so that Lightning does not share out the shares again.

    Args:
        positions: Positions in the data set.
        training: Whether to shuffle and to even out.
        seed: Seed of the shuffles.
    """

    def __init__(self, positions: Sequence[int], *, training: bool, seed: int) -> None:
        super().__init__(tuple(positions), 1, 0, shuffle=training, seed=seed)  # type: ignore[arg-type]
        self.positions = tuple(positions)
        self.training = training

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch = self.epoch
        return ((epoch, position) for position in self._share(self._order(epoch)))

    def __len__(self) -> int:
        return len(self._share(self.positions))

    def _order(self, epoch: int) -> tuple[int, ...]:
        if not self.training:
            return self.positions
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.positions))
        return tuple(self.positions[place] for place in order)

    def _share(self, order: tuple[int, ...]) -> tuple[int, ...]:
        rank, world_size = process_rank()
        if self.training:
            steps = -(-len(order) // world_size)
            order = tuple(islice(cycle(order), steps * world_size))
        return order[rank::world_size] or order[:1]


class VolumeDataset(TorchDataset[dict[str, Any]]):
    """Prepared cases as samples, asked for by (epoch, position).

    Augmentation and patches are seeded by (seed, epoch, subject) and by nothing else: neither the
    number of workers, nor resuming, nor what was drawn before changes a sample.

    Args:
        subjects: Ids of the cases.
        cases: Their prepared arrays.
        structures: Names of the labels 1..n.
        augmentation: Transform of a sample, or None.
        seed: Seed of augmentation and patches.
        patches: Draws patches from a sample; None: samples are whole volumes.
        unlabelled: Labels that nobody has looked for in each case, (cases, n + 1) bool; None: there
            are none.
    """

    def __init__(
        self,
        subjects: tuple[str, ...],
        cases: tuple[PreparedCase, ...],
        structures: tuple[str, ...],
        augmentation: Transform | None,
        seed: int,
        patches: RandomPatches | None = None,
        unlabelled: Tensor | None = None,
    ) -> None:
        self.subjects = subjects
        self.cases = cases
        self.structures = structures
        self.augmentation = augmentation
        self.seed = seed
        self.patches = patches
        self.unlabelled = unlabelled

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        """The sample: image (C, *S) float32, label (*S) uint8, index (position in the data set).

        If there are labels that nobody has looked for: also unlabelled (n + 1,) bool.
        If patches are drawn, there are K of everything: (K, C, *P), (K, *P), (K,).
        """
        epoch, position = key
        image, label, affine = read_sample(self.cases[position])
        index = torch.tensor(position)
        with seeded(sample_seed(self.seed, epoch, self.subjects[position])):
            if self.augmentation is not None:
                image, label = augmented(self.augmentation, image, label, affine, self.structures)
            if self.patches is not None:
                image, label = self.patches(image, label)
                index = index.repeat(len(image))
        sample = {"image": image, "label": label, "index": index}
        if self.unlabelled is not None:
            sample["unlabelled"] = self.unlabelled[index]
        return sample


class _DrawnAffine(RandomAffine):
    """Draws what ``RandomAffine`` draws, and leaves the images to be moved later."""

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        """The same subject, with the matrix of ``voxel_map`` if it is to be moved."""
        images = subject.get_images_dict(intensity_only=False)
        shape = subject.spatial_shape
        if (draw := self.draw(shape)) is not None:
            torch.rand(len(images))  # TorchIO draws a number for each: patches stay the same
            subject[_MATRIX] = voxel_map(draw, images["image"].affine, shape)
        return subject


def postponed(augmentation: Transform | None) -> Transform:
    """The same transforms with the same draws, but the affine at their end does not move images.

    Raises:
        ValueError: A ``RandomAffine`` is missing, or is not the last transform.
    """
    named = _by_name(augmentation)
    affines = [name for name, part in named.items() if isinstance(part, RandomAffine)]
    last = [*named.values()][-1] if named else None
    if type(last) is not RandomAffine or len(affines) > 1:
        raise ValueError(
            "data.augment_on=gpu needs one gaborseg.data.RandomAffine, the last transform of the "
            f"augmentation, got {', '.join(named) or 'none'}: use data.augment_on=cpu"
        )
    drawn = _DrawnAffine(last.probability, last.degrees, last.scale, last.shift)
    return Augmentation({**named, affines[0]: drawn})


def _by_name(augmentation: Transform | None) -> dict[str, Transform]:
    if isinstance(augmentation, Augmentation):
        return augmentation.named
    return {} if augmentation is None else {type(augmentation).__name__: augmentation}


class PostponedVolumes(VolumeDataset):
    """Training samples whose affine is drawn but not done, and whose patches are not cut.

    ``augmentation`` is that of ``postponed``. Draws are those of ``VolumeDataset``.
    """

    augmentation: Transform

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        """The sample: image (1, C, *S), label (1, *S), index (K,), resampling [Resampling].

        If there are labels that nobody has looked for: also unlabelled (K, n + 1) bool.
        """
        epoch, position = key
        image, label, affine = read_sample(self.cases[position])
        with seeded(sample_seed(self.seed, epoch, self.subjects[position])):
            subject: Any = transformed(self.augmentation, image, label, affine, self.structures)
            resampling = self._cut(subject, label)
        index = torch.full((len(resampling.corners),), position)
        sample = {
            "image": subject["image"].data.to(image.dtype)[None],
            "label": subject["label"].data.to(label.dtype),
            "index": index,
            "resampling": [resampling],
        }
        if self.unlabelled is not None:
            sample["unlabelled"] = self.unlabelled[index]
        return sample

    def _cut(self, subject: Any, label: Tensor) -> Resampling:
        """How the sample is moved and cut."""
        matrix = subject.get(_MATRIX)
        shape = tuple(label.shape)
        if self.patches is None:
            return Resampling(matrix, ((0, 0, 0),), shape)
        moved = subject["label"].data[0].to(label.dtype)
        if matrix is not None and self.patches.sampler == "label":
            moved = nearest_labels(moved, coordinates(matrix, (0, 0, 0), shape, moved.device))
        return Resampling(matrix, *self.patches.places(moved))


def read_sample(case: PreparedCase) -> tuple[Tensor, Tensor, np.ndarray]:
    """Image (C, *S) float32, label (*S) uint8 and affine (4, 4) of a case, as copies."""
    image, label, affine = (np.array(case.read(name)) for name in ("image", "label", "affine"))
    return torch.from_numpy(image), torch.from_numpy(label), affine


def one_batch(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """A batch of all patches of some samples; in a worker it is put where others can read it.

    Lists are chained, tensors put together.
    """
    return {key: _joined([sample[key] for sample in samples]) for key in samples[0]}


def _joined(parts: list[Any]) -> Any:
    if isinstance(parts[0], list):
        return [*chain.from_iterable(parts)]
    joined = parts[0] if len(parts) == 1 else torch.cat(parts)
    return joined if get_worker_info() is None else joined.share_memory_()


class EpochLoader(DataLoader[dict[str, Any]]):
    """A loader whose pass begins when its first batch is asked for, and not before.

    Lightning, when it resumes, makes the iterator first and sets the sampler's epoch afterwards;
    workers would by then have begun with the wrong epoch.
    """

    def __iter__(self) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        yield from super().__iter__()


def begin_worker(worker: int) -> None:
    """Let a process that loads data use one thread, and end however the training ends."""
    die_with_parent()
    use_one_thread(worker)
