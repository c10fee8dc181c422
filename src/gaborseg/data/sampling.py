"""Which case comes when, and what becomes of it: decided by seed, epoch and subject alone."""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import cycle, islice
from typing import Any

import numpy as np
import torch
import torch.distributed
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, get_worker_info
from torch.utils.data import Dataset as TorchDataset

from gaborseg.data.augmentation import Transform, augmented, seeded, use_one_thread
from gaborseg.data.cache import PreparedCase
from gaborseg.data.patches import RandomPatches
from gaborseg.machine import die_with_parent


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


def read_sample(case: PreparedCase) -> tuple[Tensor, Tensor, np.ndarray]:
    """Image (C, *S) float32, label (*S) uint8 and affine (4, 4) of a case, as copies."""
    image, label, affine = (np.array(case.read(name)) for name in ("image", "label", "affine"))
    return torch.from_numpy(image), torch.from_numpy(label), affine


def one_batch(samples: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """A batch of all patches of some samples; in a worker it is put where others can read it."""
    batch = {key: torch.cat([sample[key] for sample in samples]) for key in samples[0]}
    in_worker = get_worker_info() is not None
    return {key: part.share_memory_() if in_worker else part for key, part in batch.items()}


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
