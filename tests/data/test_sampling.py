import pytest

from gaborseg.data import sampling
from gaborseg.data.sampling import EpochSampler


def shares(
    monkeypatch: pytest.MonkeyPatch, sampler: EpochSampler, world_size: int
) -> list[list[int]]:
    """The positions that each of ``world_size`` processes gets."""
    taken = []
    for rank in range(world_size):
        monkeypatch.setattr(sampling, "process_rank", lambda rank=rank: (rank, world_size))
        taken.append([position for _, position in sampler])
        assert len(taken[-1]) == len(sampler)
    return taken


def test_training_order_follows_seed_and_epoch_alone() -> None:
    first, second = (EpochSampler(range(20), training=True, seed=1) for _ in range(2))
    second.set_epoch(3)
    assert list(second) != list(first)
    first.set_epoch(3)
    assert list(second) == list(first)
    assert list(first) != list(EpochSampler(range(20), training=True, seed=2))


def test_the_epoch_travels_with_every_position() -> None:
    sampler = EpochSampler([4, 2], training=False, seed=0)
    sampler.set_epoch(7)
    assert list(sampler) == [(7, 4), (7, 2)]


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
def test_training_gives_each_process_equally_many(
    monkeypatch: pytest.MonkeyPatch, world_size: int
) -> None:
    taken = shares(monkeypatch, EpochSampler(range(5), training=True, seed=0), world_size)
    assert len({len(share) for share in taken}) == 1
    assert {position for share in taken for position in share} == set(range(5))


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
def test_scoring_takes_each_position_exactly_once(
    monkeypatch: pytest.MonkeyPatch, world_size: int
) -> None:
    taken = shares(monkeypatch, EpochSampler(range(5), training=False, seed=0), world_size)
    assert sorted(position for share in taken for position in share) == list(range(5))


def test_a_seed_is_the_same_on_every_machine() -> None:
    assert sampling.sample_seed(0, 1, "sub-01") == 1800690360721442805


def test_a_process_without_a_case_of_its_own_repeats_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gaborseg.data.sampling.process_rank", lambda: (2, 3))
    assert list(EpochSampler([7, 8], training=False, seed=0)) == [(0, 7)]
