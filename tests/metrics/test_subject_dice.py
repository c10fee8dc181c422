import pickle
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from gaborseg.metrics import SubjectDice, SubjectTable, confusion_counts, dice_from_counts

NUM_CLASSES = 4


def subject(index: int) -> tuple[Tensor, Tensor]:
    """Prediction and truth of one subject, (1, 6, 6, 6) each; label 3 is absent from some."""
    generator = torch.Generator().manual_seed(index)
    labels = 3 if index % 4 == 0 else NUM_CLASSES
    prediction, target = torch.randint(labels, (2, 1, 6, 6, 6), generator=generator)
    return prediction, target


def table_of(indices: list[int]) -> SubjectTable:
    metric = SubjectDice(NUM_CLASSES)
    for index in indices:
        metric.update(*subject(index), torch.tensor([index]))
    return metric.compute()


def assert_same_table(got: SubjectTable, want: SubjectTable) -> None:
    assert torch.equal(got.subjects, want.subjects)
    torch.testing.assert_close(got.dice, want.dice, rtol=0, atol=0, equal_nan=True)


def test_rows_are_the_dice_of_each_subject_without_background() -> None:
    table = table_of([7, 0])
    assert table.subjects.tolist() == [0, 7]
    want = torch.cat([dice_from_counts(confusion_counts(*subject(i), NUM_CLASSES)) for i in (0, 7)])
    torch.testing.assert_close(table.dice, want[:, 1:], rtol=0, atol=0, equal_nan=True)
    assert table.dice[0, 2].isnan()


def test_order_and_repetition_of_subjects_do_not_matter() -> None:
    assert_same_table(table_of([3, 1, 2, 1, 3]), table_of([1, 2, 3]))


def test_subject_seen_twice_with_different_predictions_counts_once_in_any_order() -> None:
    (prediction, target), tables = subject(1), []
    for variants in ([prediction, target], [target, prediction]):
        metric = SubjectDice(NUM_CLASSES)
        for variant in variants:
            metric.update(variant, target, torch.tensor([1]))
        tables.append(metric.compute())
    assert len(tables[0].subjects) == 1
    assert_same_table(*tables)


def test_batch_equals_its_samples() -> None:
    pairs = [subject(index) for index in (5, 6)]
    metric = SubjectDice(NUM_CLASSES)
    prediction, target = (torch.cat(volumes) for volumes in zip(*pairs, strict=True))
    metric.update(prediction, target, torch.tensor([5, 6], dtype=torch.int32))
    assert_same_table(metric.compute(), table_of([5, 6]))


def test_single_subject_with_a_single_structure_keeps_its_shape() -> None:
    metric = SubjectDice(num_classes=2)
    metric.update(torch.ones(1, 8).long(), torch.ones(1, 8).long(), torch.tensor([4]))
    table = metric.compute()
    assert table.subjects.shape == (1,)
    assert table.dice.tolist() == [[1.0]]


def test_reset_forgets() -> None:
    metric = SubjectDice(NUM_CLASSES)
    metric.update(*subject(1), torch.tensor([1]))
    metric.reset()
    metric.update(*subject(2), torch.tensor([2]))
    assert metric.compute().subjects.tolist() == [2]


def test_metric_can_be_pickled() -> None:
    metric = SubjectDice(NUM_CLASSES)
    metric.update(*subject(1), torch.tensor([1]))
    assert_same_table(pickle.loads(pickle.dumps(metric)).compute(), table_of([1]))


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        SubjectDice(1)
    with pytest.raises(ValueError, match=r"subject_index must be of shape \(1,\), got \(2,\)"):
        SubjectDice(NUM_CLASSES).update(*subject(1), torch.tensor([1, 2]))


PADDED = [[0, 2, 4, 6, 8, 10, 12], [1, 3, 5, 7, 9, 11, 0]]
ONE_IDLE = [list(range(12, -1, -1)), []]


def score_on_rank(rank: int, folder: str) -> None:
    """Score one process's share of the subjects and save the tables that it ends up with."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    tables = [table_of(shares[rank]) for shares in (PADDED, ONE_IDLE)]
    torch.save([(table.subjects, table.dice) for table in tables], f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_agree_with_one(tmp_path: Path) -> None:
    torch.multiprocessing.start_processes(
        score_on_rank, (str(tmp_path),), nprocs=2, start_method="fork"
    )
    want = table_of(list(range(13)))
    for rank in range(2):
        for table in torch.load(tmp_path / f"{rank}.pt"):
            assert_same_table(SubjectTable(*table), want)
