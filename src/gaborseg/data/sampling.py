"""Which case comes when: an order that depends on the seed and the epoch alone."""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import cycle, islice

import numpy as np
import torch.distributed
from torch.utils.data import Sampler


def sample_seed(*parts: object) -> int:
    """A 63-bit seed from the text of its parts, the same on every machine."""
    digest = blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def process_rank() -> tuple[int, int]:
    """Rank of this process and number of processes that train together."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


class EpochSampler(Sampler[tuple[int, int]]):
    """Pairs (epoch, position): the epoch travels with the position to persistent workers.

    In training, positions are shuffled by (seed, epoch), and the first are repeated until every
    process has equally many. Otherwise each position comes once, in order, in one of the processes;
    only a process that would get none repeats the first, for it may not stay without a batch.

    Args:
        positions: Positions in the data set.
        training: Whether to shuffle and to even out.
        seed: Seed of the shuffles.
    """

    def __init__(self, positions: Sequence[int], *, training: bool, seed: int) -> None:
        self.positions = tuple(positions)
        self.training = training
        self.seed = seed
        self.epoch = 0

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
